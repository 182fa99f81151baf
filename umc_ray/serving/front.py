"""What stands before Serve in each process that listens: a proxy, or behind HAProxy a replica."""

import os
import socket

from ray.serve._private import http_util
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from umc_ray.serving.haproxy import HAPROXY
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import refusal_response
from umc_ray.serving.resending import Resending
from umc_ray.serving.shedding import Shedding
from umc_ray.serving.slow_bodies import SlowBodies

SERVE_HEADERS = (
    "serve-multiplexed-model-id",
    "x-request-disconnect-disabled",
    "x-request-id",
    "x-request-timeout-seconds",
    "x-session-id",
)
"""With which clients would command Serve, or fail it by a value that is no UTF-8."""

SERVE_PATHS = "/-/"
"""Where Serve answers by itself, without a token."""

HEALTH_PATH = "/-/healthz"

NOT_FOUND = refusal_response(Refusal(404, "Not Found"))


class Front:
    """Keeps from Serve what it would obey, and what is no request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        path = scope["path"]
        if path.startswith(SERVE_PATHS) and path != HEALTH_PATH:  # the list has campaigns' names
            await NOT_FOUND(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if not _commands_serve(pair[0])]
        plain = _WithoutRoutes(scope, receive, send)
        await self.app({**scope, "headers": headers}, receive, plain.send)


class _WithoutRoutes:
    """Answers in the place of Serve, whose own 404 says where it lists the campaigns."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.to_client = scope, receive, send
        self.is_answered = False

    async def send(self, message: Message) -> None:
        """Pass a part of an answer on, unless it is of Serve's 404."""
        if message["type"] == "http.response.start" and message["status"] == 404:
            kind = Headers(raw=list(message["headers"])).get("content-type", "")
            if not kind.startswith("application/json"):
                self.is_answered = True
                await NOT_FOUND(self.scope, self.receive, self.to_client)
        if not self.is_answered:
            await self.to_client(message)


def _commands_serve(name: bytes) -> bool:
    return name.decode("latin-1").lower().replace("_", "-") in SERVE_HEADERS


def _keep_port(listener: socket.socket) -> None:
    """Have a port one listener; with Ray's SO_REUSEPORT, two endpoints would answer in turns.

    After the end of a listener, the next one need not wait for its last connections.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def middlewares() -> list[Middleware]:
    """Return the middleware for Ray to put before Serve; the last one is the outermost.

    Ray calls this before it starts uvicorn in the process, whose connections are bounded from then
    and whose port is its own.
    """
    HTTP_PROTOCOLS["auto"] = "umc_ray.serving.connections:BoundedConnection"
    http_util.set_socket_reuse_port = _keep_port  # type: ignore[assignment]
    if os.environ.get(HAPROXY) == "1":  # this process is a replica, and HAProxy sends again
        return [Middleware(Shedding), Middleware(Front)]
    return [Middleware(Resending), Middleware(SlowBodies), Middleware(Front)]
