"""Ray's token is for its owner alone, and a local Ray for this machine."""

import pytest
from ray._private import services

from umc_ray.cluster.loopback import on_loopback, protect_token


@pytest.fixture
def token(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    return tmp_path / ".ray" / "auth_token"


def test_a_token_that_is_not_there_yet_will_be_private(token):
    protect_token()
    assert (token.stat().st_mode & 0o777, token.read_text()) == (0o600, "")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o600])
def test_a_token_becomes_private_and_stays_as_it_is(token, mode):
    token.parent.mkdir()
    token.write_text("abc")
    token.chmod(mode)
    protect_token()
    assert (token.stat().st_mode & 0o777, token.read_text()) == (0o600, "abc")


def test_without_authentication_there_is_no_token(token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    protect_token()
    assert not token.exists()


def test_a_ray_that_starts_takes_the_address_of_loopback(monkeypatch):
    monkeypatch.setattr("ray._private.worker._global_node", None)
    with on_loopback():
        assert services.get_node_ip_address() == "127.0.0.1"
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda address: "10.0.0.1")
    assert services.get_node_ip_address() == "10.0.0.1"
