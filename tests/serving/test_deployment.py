"""When tokens are required, and the environment for HAProxy."""

import socket

import pytest

from tests import tiny
from umc_ray.errors import ConfigError
from umc_ray.serving import deployment
from umc_ray.serving.deployment import build, start
from umc_ray.serving.haproxy import CONFIG, HAPROXY, haproxy_settings, refuse_without_replica
from umc_ray.serving.messages import Problem
from umc_ray.serving.settings import ServingConfig


@pytest.fixture
def path(tmp_path):
    return tiny.write_campaign(tmp_path, tiny.campaign(tmp_path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_serving_other_machines_requires_tokens(path, host):
    with pytest.raises(ConfigError, match="tokens are required"):
        start([ServingConfig(campaign=path)], host, 8000)


def test_a_port_that_is_taken_is_refused_before_serve_starts(path, monkeypatch):
    monkeypatch.setattr(deployment, "_get_global_client", lambda **_: None)  # no Serve is running
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is taken by"):
            start([ServingConfig(campaign=path)], "127.0.0.1", port)


@pytest.mark.ray
def test_the_port_of_serve_is_not_shared(server):
    """Where both sides agree to share, the system would give each a part of the connections."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="Address already in use"):
            other.bind((host, int(port)))


@pytest.mark.ray
def test_a_serve_that_listens_elsewhere_is_named(server):
    where = server.url.removeprefix("http://")
    with pytest.raises(ConfigError, match=f"Serve of this cluster listens on {where}"):
        start([ServingConfig(campaign=server.campaign.path)], "127.0.0.1", 1)


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


def test_haproxy_answers_503_with_a_time_where_no_replica_does(tmp_path, monkeypatch):
    file = tmp_path / "500.http"
    file.write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")
    monkeypatch.setenv(CONFIG, str(tmp_path / "haproxy.cfg"))
    monkeypatch.setenv(HAPROXY, "0")
    refuse_without_replica()
    assert " 500 " in file.read_text()
    monkeypatch.setenv(HAPROXY, "1")
    refuse_without_replica()
    head, _, body = file.read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}" in head.decode().splitlines()
    assert Problem.model_validate_json(body).error
    assert b"Retry-After: 1" in head
