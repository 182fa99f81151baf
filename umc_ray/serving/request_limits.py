"""Middleware in front of the application: access control, and limits on request bodies."""

import asyncio
from contextlib import suppress
from time import monotonic

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from umc_ray.serving.access import Access
from umc_ray.serving.metrics import ServingMetrics
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.settings import ServingConfig

OPEN_PATHS = ("/healthz", "/readyz")
"""Paths that need no token: they reveal nothing about the campaign."""


class ClientGone(Exception):
    """The client disconnected before its request was complete."""


class RequestLimits:
    """Rejects unauthorized requests before reading their bodies, and bodies that are too large."""

    def __init__(
        self, app: ASGIApp, access: Access, settings: ServingConfig, metrics: ServingMetrics
    ) -> None:
        self.app, self.access, self.settings, self.metrics = app, access, settings, metrics
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond with the reason for refusing it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, start = bytearray(), monotonic()

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = monotonic() - start
                self.metrics.record_response(scope["path"], message["status"], seconds)
            await send(message)

        try:
            self._check(scope)
            if _expects_body(scope):
                await self._read(body, receive)
            await self.app(scope, _replay(bytes(body), receive), send_and_record)
        except Refusal as refusal:
            await refusal_response(refusal)(scope, receive, send_and_record)
        except ClientGone:
            return
        finally:
            self.held_bytes -= len(body)

    def _check(self, scope: Scope) -> None:
        """Check the token, and the size that the headers declare."""
        headers, client = Headers(scope=scope), scope.get("client")
        if not scope["path"].endswith(OPEN_PATHS):
            self.access.check("score", headers, client[0] if client else None)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.settings.max_body_bytes:
            raise self._too_large()

    async def _read(self, body: bytearray, receive: Receive) -> None:
        """Read the body, within the limits on time and size."""
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    self._append(body, message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(408, "the request body did not arrive in time") from None

    def _append(self, body: bytearray, data: bytes) -> None:
        body += data
        self.held_bytes += len(data)
        if len(body) > self.settings.max_body_bytes:
            raise self._too_large()
        if self.held_bytes > self.settings.max_held_bytes:
            raise Refusal(503, "overloaded: too many requests are in progress", retry_after_s=1)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"requests are limited to {self.settings.max_body_bytes} bytes")


def _expects_body(scope: Scope) -> bool:
    """Return whether to read a body: nobody who has shown no token can make this machine hold one.

    To the application, a body that is not read is an empty one.
    """
    return scope["method"] == "POST" and not scope["path"].endswith(OPEN_PATHS)


def refusal_response(refusal: Refusal) -> JSONResponse:
    """Return the HTTP response for a refusal."""
    return JSONResponse(refusal.problem.model_dump(), refusal.status, refusal.headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that yields the body read so far, then what follows it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        with suppress(IndexError):
            return pending.pop()
        return await receive()

    return replay
