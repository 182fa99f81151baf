"""The HTTP application: its routes, and the responses to errors.

The content of requests is neither logged nor repeated in responses: it may be private or malicious.
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
from umc_ray.serving.json_body import BoundedRoute
from umc_ray.serving.messages import (
    CampaignResponse,
    EmbedRequest,
    EmbedResponse,
    ModelsResponse,
    Problem,
    ResponseModel,
    ScoreRequest,
    ScoreResponse,
)
from umc_ray.serving.ml_backend import add_ml_backend
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.request_limits import RequestLimits, refusal_response

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (401, 403, 413, 415, 422, 503)
}


def create_app(endpoint: Endpoint) -> FastAPI:
    """Build the application of one replica."""
    app = FastAPI(
        title=f"umc_ray: {endpoint.run.config.name}",
        lifespan=lambda _: _refresh_while_running(endpoint),
        responses=PROBLEMS,
        redirect_slashes=False,  # to where the Host of the request says
    )
    app.add_middleware(
        RequestLimits, access=endpoint.access, settings=endpoint.settings, metrics=endpoint.metrics
    )
    app.router.route_class = BoundedRoute
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
        """Score samples with the published specialists."""
        return _json(await endpoint.score(request))

    @app.post("/v1/embed", response_model=EmbedResponse)
    async def embed(request: EmbedRequest) -> Response:
        """Encode samples with the task's encoder."""
        return _json(await endpoint.embed(request))

    @app.get("/v1/models")
    def models() -> ModelsResponse:
        """Return the version that is served."""
        return endpoint.models()

    @app.get("/v1/campaign", dependencies=[Depends(admin)])
    def campaign() -> CampaignResponse:
        """Return the campaign's state; requires a token of scope admin."""
        return endpoint.campaign()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Return 200 while the process is alive."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Return 200 once specialists are published and loaded."""
        return {"version": endpoint.publication.manifest.version}


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return refusal_response(error)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return refusal_response(Refusal(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal_response(Refusal(422, first_problem(error.errors())))


def _json(content: ResponseModel) -> Response:
    # Serialize once, with pydantic: FastAPI would validate the response again.
    return Response(content.model_dump_json(), media_type="application/json")


@asynccontextmanager
async def _refresh_while_running(endpoint: Endpoint) -> AsyncIterator[None]:
    """Poll for new publications while the application runs."""

    async def poll() -> None:
        while True:
            await asyncio.sleep(endpoint.settings.poll_s)
            await asyncio.to_thread(endpoint.refresh)

    poller = asyncio.create_task(poll())
    yield
    poller.cancel()
    with suppress(asyncio.CancelledError):
        await poller
