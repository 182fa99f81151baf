"""Connections that nobody can keep open, or fill, without sending requests.

Uvicorn waits for the rest of a request forever, and keeps headers of any size and connections in
any number.
"""

import asyncio
from typing import NoReturn
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
"""Of headers, trailers and chunk extensions in a row."""

HEAD_TIMEOUT_S = 10.0
"""For the headers of a request, and for what is left of one that was answered."""

MOST_CONNECTIONS = 2_000
"""Open at a time in a process, which answers some hundred requests per second."""


def _refusal(status: bytes, *headers: bytes) -> bytes:
    lines = b"HTTP/1.1 " + status, *headers, b"connection: close", b"content-length: 0"
    return b"\r\n".join((*lines, b"", b""))


BUSY = _refusal(b"503 Service Unavailable", b"retry-after: 1")
TOO_LARGE = _refusal(b"431 Request Header Fields Too Large")
OTHER_CODING = _refusal(b"400 Bad Request")
OTHER_EXPECTATION = _refusal(b"417 Expectation Failed")


class Refused(Exception):
    """Ends the parser at what is not taken."""


class SeveralHosts(Exception):
    """Ends the parser: which host counts would depend on who reads the request."""


class BoundedConnection(HttpToolsProtocol):
    """A connection of uvicorn, one of so many, whose headers are limited in size and time."""

    head_bytes = 0
    field_bytes = 0
    made_progress = False
    refusal = b""
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request; refuse it if there are too many connections."""
        super().connection_made(transport)
        self._set_deadline()
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data; close the connection if it has been neither head nor body for too long."""
        self.made_progress = False
        super().data_received(data)
        self.head_bytes = 0 if self.made_progress else self.head_bytes + len(data)
        if self.head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request that the parser did not take."""
        if self.refusal:
            self._refuse(self.refusal)
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Wait for the headers."""
        super().on_message_begin()
        self.field_bytes = 0
        self._set_deadline()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or a trailer."""
        self._count(len(name) + len(value) + 4)  # a colon, a space and the end of the line
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Leave the time that the body may take to the application."""
        self._check_framing()
        self._settle_host()
        super().on_headers_complete()
        self.made_progress = True
        self._clear_deadline()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        super().on_body(body)
        self.made_progress = True

    def on_message_complete(self) -> None:
        """Leave the time until the next request to uvicorn."""
        super().on_message_complete()
        self.made_progress = True
        self._clear_deadline()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request that was answered before it was complete."""
        is_complete = not self.cycle.more_body
        super().on_response_complete()
        if not is_complete and not self.transport.is_closing():
            self._set_deadline()

    def _check_framing(self) -> None:
        """Refuse what uvicorn would ignore: a body in another coding, or another expectation."""
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and b",".join(codings).strip().lower() != b"chunked":
            self._end(OTHER_CODING)
        expected = [value.strip().lower() for name, value in self.headers if name == b"expect"]
        if not set(expected) <= {b"", b"100-continue"}:
            self._end(OTHER_EXPECTATION)

    def _settle_host(self) -> None:
        """Leave one host to whoever checks it: of an absolute address its own (RFC 9112, 3.2)."""
        if sum(name == b"host" for name, _ in self.headers) > 1:
            raise SeveralHosts
        host = b"" if self.url.startswith(b"/") else urlsplit(self.url).netloc
        if host:
            others = [pair for pair in self.headers if pair[0] != b"host"]
            self.headers[:] = [(b"host", host), *others]

    def _count(self, size: int) -> None:
        """Bound what comes in one piece with the end of the head, which is progress."""
        self.field_bytes += size
        if self.field_bytes > MOST_HEAD_BYTES:
            self._end(TOO_LARGE)

    def _end(self, refusal: bytes) -> NoReturn:
        """End the parser, which has the refusal sent."""
        self.refusal = refusal
        raise Refused

    def _refuse(self, refusal: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(refusal)
        self.transport.close()

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self.deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _clear_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
