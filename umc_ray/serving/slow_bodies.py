"""Requests whose bodies are slow take turns, so that a crowd of them does not hold up the others.

A request costs Serve milliseconds from its first byte on. Most come whole, and are passed on at
once. The others wait for the rest of their body or for their turn, whichever is first.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import refusal_response

TURN_S = 0.1
"""Between two requests that are passed on before their bodies have come."""

WAIT_S = 10.0
"""For a turn, at most."""

MOST_BYTES = 1_000_000
"""Of a body that waits; with more, the request is passed on, to be limited by the application."""


class SlowBodies:
    """Middleware that passes requests on when their bodies are there, or one after the other."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.turns = app, asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive)
        if not await self._is_due(body):
            refusal = Refusal(408, "the request body did not arrive in time")
            await refusal_response(refusal)(scope, receive, send)
        elif not body.is_gone:
            await self.app(scope, body.from_start, send)

    async def _is_due(self, body: "_Body") -> bool:
        """Wait until the body has come or the request has its turn; returns whether it does."""
        either = [asyncio.create_task(each) for each in (body.gather(), self._turn())]
        try:
            done, _ = await asyncio.wait(
                either, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for each in either:
                each.cancel()
        return bool(done)

    async def _turn(self) -> None:
        async with self.turns:
            await asyncio.sleep(TURN_S)


class _Body:
    """The part of a request's body that has come."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.data = bytearray()
        self.has_begun = self.is_gone = False
        self.has_more = True

    async def gather(self) -> None:
        """Receive until the body has come, is large, or the client has gone."""
        while self.has_more and len(self.data) < MOST_BYTES:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.is_gone = True
                return
            self.has_begun = True
            self.data += message.get("body", b"")
            self.has_more = message.get("more_body", False)

    async def from_start(self) -> Message:
        """Return what has come as one message, then what follows."""
        if not self.has_begun:
            return await self.receive()
        self.has_begun, body = False, bytes(self.data)
        return {"type": "http.request", "body": body, "more_body": self.has_more}
