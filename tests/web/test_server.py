"""The annotation page as a server of its own."""

import socket

import pytest

from umc_ray.errors import ConfigError
from umc_ray.web.server import serve_page


def test_a_port_that_is_taken_is_an_error_before_an_address_is_printed(still_world, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is taken by"):
            serve_page(still_world.run, "127.0.0.1", port)
    assert capsys.readouterr().out == ""
