"""What every request passes before the application sees it: who asks, and how much is sent."""

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

OPEN = ("/healthz", "/readyz")
"""Paths that need no token: they say nothing of the campaign."""


class ClientGone(Exception):
    """The client left before its request was whole."""


class RequestLimits:
    """Refuses strangers before their body is read, and bodies before they fill the memory."""

    def __init__(
        self, app: ASGIApp, access: Access, settings: ServingConfig, metrics: ServingMetrics
    ) -> None:
        self.app, self.access, self.settings, self.metrics = app, access, settings, metrics
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, began = bytearray(), monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = monotonic() - began
                self.metrics.request(scope["path"], message["status"], seconds)
            await send(message)

        try:
            self._check(scope)
            await self._read(body, receive)
            await self.app(scope, _replay(bytes(body), receive), counted)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, counted)
        except ClientGone:
            return
        finally:
            self.held -= len(body)

    def _check(self, scope: Scope) -> None:
        headers, client = Headers(scope=scope), scope.get("client")
        if not scope["path"].endswith(OPEN):
            self.access.check("score", headers, client[0] if client else None)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.settings.max_body_bytes:
            raise self._too_large()

    async def _read(self, body: bytearray, receive: Receive) -> None:
        """Read a request's body, within its time and size."""
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    self._take(body, message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(408, "the request's body did not come in time") from None

    def _take(self, body: bytearray, data: bytes) -> None:
        body += data
        self.held += len(data)
        if len(body) > self.settings.max_body_bytes:
            raise self._too_large()
        if self.held > self.settings.max_held_bytes:
            raise Refusal(503, "too many requests are worked on", retry_after_s=1)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"a request may have {self.settings.max_body_bytes} bytes")


def refused(refusal: Refusal) -> JSONResponse:
    """Give a refusal as an answer."""
    return JSONResponse(refusal.problem.model_dump(), refusal.status, refusal.headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already to whoever asks, then whatever comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        with suppress(IndexError):
            return waiting.pop()
        return await receive()

    return replay
