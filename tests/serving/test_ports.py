"""A port has one listener, and who finds it taken is told by whom."""

import os
import socket

import psutil
import pytest

from tests.serving.conftest import free_port
from umc_ray.errors import ConfigError
from umc_ray.serving.ports import authority, listen


@pytest.fixture
def shared():
    """A listener that would share its port with others, as those of Ray Serve do by default."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_that_is_taken_is_named_with_who_has_it(shared, host):
    me = psutil.Process().name()
    with pytest.raises(ConfigError) as caught:
        listen(host, shared)
    said = f"{host}:{shared} is taken by {me} (process {os.getpid()}): end what listens there"
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(ConfigError, match=f"port {port}: must be from 1 to 65535"):
        listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "none.invalid", "a..b"])
def test_an_address_of_another_machine_is_refused_in_one_line(host):
    with pytest.raises(ConfigError, match=rf"cannot listen on {host}:8000: [\w\s]") as caught:
        listen(host, 8000)
    assert "\n" not in str(caught.value)


def test_a_port_is_free_at_once_after_its_listener_has_ended():
    """The system still waits for the last packets of a connection that the listener has closed."""
    port = free_port()
    client = socket.socket()
    with listen("127.0.0.1", port) as first, client:
        client.connect(("127.0.0.1", port))
        accepted, _ = first.accept()
        accepted.close()
        assert client.recv(1) == b""
    listen("127.0.0.1", port).close()


def test_an_ipv6_address_is_in_brackets():
    assert authority("::1", 80) == "[::1]:80"
    assert authority("127.0.0.1", 80) == "127.0.0.1:80"
