"""Load shedding: refuses requests that would wait too long, before Serve spends time on them.

Serve's own steps around a request cost a replica more than a refusal does. Under overload they
would take the CPU time that the model needs. Behind HAProxy each replica listens on its own port,
and Ray runs this middleware in front of it.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import refusal_response

MODEL_PATHS = ("/v1/score", "/v1/embed", "/predict")
"""Paths whose requests need a model."""

admission_checks: list[Callable[[str], None]] = []
"""Called with the path of a request, raise Refusal; a replica has one, other processes none."""


class Shedding:
    """Refuses requests that need a model while all models are overloaded."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"].endswith(MODEL_PATHS):
            try:
                for admit in admission_checks:
                    admit(scope["path"])
            except Refusal as refusal:
                await refusal_response(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
