"""Refuses what would wait too long before Serve itself has work with it.

Serve's steps around a request cost a replica more than a refusal does: under overload they would
take the time that the model needs. Behind HAProxy replicas listen themselves, and what Ray gets
here sees their requests first.
"""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import refused

COMPUTED = ("/v1/score", "/v1/embed", "/predict")
"""Paths whose requests wait for a model."""

admissions: list[Callable[[str], None]] = []
"""What refuses the requests of this process, by their path: a replica has one, others none."""


class Shedding:
    """Lets a request through unless a model must be waited for, and for too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer that it cannot be taken now."""
        if scope["type"] == "http" and scope["path"].endswith(COMPUTED):
            try:
                for admit in admissions:
                    admit(scope["path"])
            except Refusal as refusal:
                await refused(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Ray puts before Serve in each process that listens."""
    return [Middleware(Shedding)]
