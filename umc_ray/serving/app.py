"""The HTTP application: routes, and how what goes wrong becomes an answer.

Nothing of a request's content is logged or sent back: it may be private, or made to break a log.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from umc_ray.config.validation_errors import first_problem
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.messages import (
    Answer,
    CampaignResponse,
    EmbedRequest,
    EmbedResponse,
    ModelsResponse,
    Problem,
    ScoreRequest,
    ScoreResponse,
)
from umc_ray.serving.ml_backend import add_ml_backend
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import RequestLimits, refused

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (401, 403, 413, 422, 503)
}


def create_app(endpoint: Endpoint) -> FastAPI:
    """Build the application of one replica."""
    app = FastAPI(
        title=f"umc_ray: {endpoint.run.config.name}",
        lifespan=lambda _: _watching(endpoint),
        responses=PROBLEMS,
    )
    app.add_middleware(
        RequestLimits, access=endpoint.access, settings=endpoint.settings, metrics=endpoint.metrics
    )
    _handle_errors(app)
    _add_routes(app, endpoint)
    add_ml_backend(app, endpoint)
    return app


def _add_routes(app: FastAPI, endpoint: Endpoint) -> None:
    def admin(request: Request) -> None:
        client = request.client.host if request.client else None
        endpoint.access.check("admin", request.headers, client)

    @app.post("/v1/score", response_model=ScoreResponse)
    async def score(request: ScoreRequest) -> Response:
        """Say how sure the specialists are of each sample."""
        return _json(await endpoint.score(request))

    @app.post("/v1/embed", response_model=EmbedResponse)
    async def embed(request: EmbedRequest) -> Response:
        """Encode samples with the task's encoder."""
        return _json(await endpoint.embed(request))

    @app.get("/v1/models")
    def models() -> ModelsResponse:
        """Say which version answers."""
        return endpoint.models()

    @app.get("/v1/campaign", dependencies=[Depends(admin)])
    def campaign() -> CampaignResponse:
        """Say where the campaign stands; needs a token of scope admin."""
        return endpoint.campaign()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that this process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Say whether there are specialists to answer with."""
        return {"version": endpoint.publication.manifest.version}


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return refused(error)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return refused(Refusal(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refused(Refusal(422, first_problem(error.errors())))


def _json(answer: Answer) -> Response:
    # Serialised once, by pydantic: FastAPI would check the answer again.
    return Response(answer.model_dump_json(), media_type="application/json")


@asynccontextmanager
async def _watching(endpoint: Endpoint) -> AsyncIterator[None]:
    """Look for new publications as long as the application runs."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(endpoint.settings.poll_s)
            await asyncio.to_thread(endpoint.refresh)

    watcher = asyncio.create_task(watch())
    yield
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
