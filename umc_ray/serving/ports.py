"""The port that a server listens on: this process has it alone, or says who has it."""

import errno
import socket
from contextlib import suppress

import psutil

from umc_ray.errors import ConfigError

MOST_PORT = 65_535
WAITING = 2048
"""Connections that the system holds until they are accepted."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; nobody else can listen on the same address.

    Raises:
        ConfigError: there is no such port, somebody listens there, or the address is not of this
            machine.
    """
    if not 1 <= port <= MOST_PORT:
        raise ConfigError(f"port {port}: must be from 1 to {MOST_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=WAITING, dualstack_ipv6=both
        )
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ConfigError(taken(host, port)) from error
        reason = str(getattr(error, "strerror", error)).partition(" (")[0]
        raise ConfigError(f"cannot listen on {authority(host, port)}: {reason}") from error


def taken(host: str, port: int) -> str:
    """Say that a port is taken, by which process if that is known, and what to do."""
    where = f"{authority(host, port)} is taken{_by(port)}"
    return f"{where}: end what listens there, or give another --port"


def authority(host: str, port: int) -> str:
    """Return a host and a port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _by(port: int) -> str:
    """Name a process that listens on a port; the system tells only of the own user's."""
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr[1:] == (port,) and each.pid:
                return f" by {psutil.Process(each.pid).name()} (process {each.pid})"
    return ""
