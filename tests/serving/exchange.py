"""Bytes to a server, and what it answers."""

import socket
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """The last response of a connection; without a status where the server just closed it."""

    status: int | None
    text: str


def exchange(address, data, ends=False, timeout_s=60):
    """Send bytes, say that no more come if it `ends`, and read until the server closes."""
    with socket.create_connection(address, timeout=timeout_s) as connection:
        with suppress(OSError):  # it need not read what it refuses
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        parts = []
        with suppress(ConnectionError):
            while part := connection.recv(100_000):
                parts.append(part)
    got = b"".join(parts)
    if not got.startswith(b"HTTP/1.1 "):
        assert not got, got
        return Answer(None, "")
    return Answer(int(got[9:12]), got.decode("latin-1"))
