"""The web application: routes, security headers, and error handlers."""

from collections.abc import Mapping
from urllib.parse import quote

from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse

from umc_ray.config.validation_errors import first_problem
from umc_ray.errors import DataError, StoreError
from umc_ray.web import admin, api, auth_pages, exchange, history_page, pages, questions_page
from umc_ray.web.security_headers import SecurityHeaders
from umc_ray.web.site import Site


def create_app(site: Site) -> FastAPI:
    """Build the application of a campaign; it can be mounted under any path."""
    app = FastAPI(
        title=f"umc_ray annotation: {site.name}",
        docs_url=None,  # FastAPI's documentation pages load scripts from a CDN
        redoc_url=None,
        openapi_url=None,
    )
    app.state.site, app.state.login_throttle = site, auth_pages.LoginThrottle()
    app.state.hashing = CapacityLimiter(auth_pages.CONCURRENT_HASHES)
    for module in (api, exchange, auth_pages, admin, history_page, questions_page, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(packages=[("umc_ray.web", "static")]))
    app.add_middleware(SecurityHeaders)
    _handle_errors(app)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and _is_page(request):
            root, query = request.scope.get("root_path", ""), request.url.query
            target = f"{request.url.path}?{query}" if query else request.url.path
            return RedirectResponse(f"{root}/login?next={quote(target)}", 303)
        return _error_response(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _error_response(request, 422, first_problem(error.errors()))

    @app.exception_handler(DataError)
    async def bad_data(request: Request, error: DataError) -> Response:
        return _error_response(request, 422, str(error))

    @app.exception_handler(StoreError)
    async def conflict(request: Request, error: StoreError) -> Response:
        # One with a cause is trouble of the disk or the database: the page tries again.
        status = 409 if error.__cause__ is None else 503
        return _error_response(request, status, str(error))


def _is_page(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _error_response(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    if _is_page(request):
        return pages.page(request, "message.html", None, status, title="Error", detail=detail)
    return JSONResponse({"detail": detail}, status, headers)
