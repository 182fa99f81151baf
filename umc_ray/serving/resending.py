"""Requests whose replica died before it answered: sent to another one, once.

All that the endpoint does can be done twice. Serve gives no answer to such a request, and uvicorn
would make that an error 500.
"""

import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import refusal_response

ATTEMPTS = 2
"""Not more: a request may be what kills replicas."""

MOST_HELD_BYTES = 256_000_000
"""Of the bodies of all requests in progress in a proxy, which are kept to be sent again."""

PART_BYTES = 1_000_000

RETRY_AFTER_S = 1.0

logger = logging.getLogger(__name__)


class Resending:
    """Middleware of Serve's proxy that repeats a request without an answer, or refuses it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.held_bytes = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on until it is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _HeldRequest(self, receive)
        try:
            for _ in range(ATTEMPTS):
                answer = _Answer(send)
                await self._ask(scope, request, answer)
                if answer.has_begun or request.is_gone:
                    return
                if request.is_refused:
                    break
        finally:
            self.held_bytes -= request.bytes
        reason = "overloaded: too many requests are in progress"
        if not request.is_refused:
            reason = "the process that had this request has ended"
        refusal = Refusal(503, reason, retry_after_s=RETRY_AFTER_S)
        await refusal_response(refusal)(scope, receive, send)

    async def _ask(self, scope: Scope, request: "_HeldRequest", answer: "_Answer") -> None:
        # Serve changes what it is given.
        own = {**scope, "headers": list(scope["headers"])}
        try:
            await self.app(own, request.from_start(), answer.send)
        except Exception as error:
            if answer.has_begun:
                raise
            # Not the message: it may hold parts of the request.
            logger.warning("a request was not answered: %s", type(error).__name__)


class _HeldRequest:
    """The messages of a request, kept to be received again.

    The first part of a body is passed on at once, as it may be refused; the others in large parts.
    A message costs Serve a call between processes, and a client may send a body byte by byte.
    """

    def __init__(self, proxy: Resending, receive: Receive) -> None:
        self.proxy, self.receive = proxy, receive
        self.messages: list[Message] = []
        self.part = bytearray()
        self.bytes = 0
        self.is_gone = self.is_refused = False

    def from_start(self) -> Receive:
        """Return a receive function that yields the messages so far, then those that follow."""
        position = 0

        async def receive() -> Message:
            nonlocal position
            while position == len(self.messages):
                self._keep(await self.receive())
            position += 1
            return self.messages[position - 1]

        return receive

    def _keep(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.is_gone = True
            self.messages.append(message)
            return
        body = message.get("body", b"")
        self._count(len(body))
        self.part += body
        is_last = not message.get("more_body", False)
        if is_last or not self.messages or len(self.part) >= PART_BYTES:
            self.messages.append({**message, "body": bytes(self.part)})
            self.part.clear()

    def _count(self, size: int) -> None:
        self.bytes += size
        self.proxy.held_bytes += size
        if self.proxy.held_bytes > MOST_HELD_BYTES:
            self.is_refused = True
            raise BufferError("too many requests are in progress")  # ends Serve's attempt


class _Answer:
    """The response to one attempt; its start is held back until a part of its body is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.start: Message | None = None
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            if message["status"] == 503:
                MutableHeaders(scope=message).setdefault("Retry-After", str(int(RETRY_AFTER_S)))
            self.start = message
            return
        if self.start is not None:
            start, self.start, self.has_begun = self.start, None, True
            await self._send(start)
        await self._send(message)
