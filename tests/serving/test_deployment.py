"""When tokens are required, and the environment for HAProxy."""

import pytest

from tests import tiny
from umc_ray.errors import ConfigError
from umc_ray.serving.deployment import build, start
from umc_ray.serving.haproxy import HAPROXY, haproxy_settings
from umc_ray.serving.settings import ServingConfig


@pytest.fixture
def path(tmp_path):
    return tiny.write_campaign(tmp_path, tiny.campaign(tmp_path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_serving_other_machines_requires_tokens(path, host):
    with pytest.raises(ConfigError, match="tokens are required"):
        start([ServingConfig(campaign=path)], host, 8000)


def test_a_deployment_behind_haproxy_requires_tokens(path, tmp_path, monkeypatch):
    assert build(ServingConfig(campaign=path))
    monkeypatch.setenv(HAPROXY, "1")
    with pytest.raises(ConfigError, match="remote clients cannot be told from local ones"):
        build(ServingConfig(campaign=path))
    tokens = tmp_path / "tokens"
    tokens.write_text("score " + "x" * 16 + "\n")
    tokens.chmod(0o600)
    assert build(ServingConfig(campaign=path, tokens=tokens))


def test_haproxy_instances_share_neither_files_nor_ports(tmp_path):
    found = haproxy_settings(str(tmp_path))
    assert found[HAPROXY] == "1"
    inside = [value for value in found.values() if value.startswith(str(tmp_path))]
    assert len(set(inside)) == len(inside) == 4
    ports = {value for name, value in found.items() if name.endswith("PORT")}
    assert len(ports) == 3
