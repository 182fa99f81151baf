"""Login and logout, invitations, and a person's own account."""

import math
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from umc_ray.annotation.leases import release_all
from umc_ray.errors import StoreError
from umc_ray.web.accounts import SESSION_S, Person
from umc_ray.web.auth import COOKIE, Annotator, Throttle, check_origin, form
from umc_ray.web.pages import page
from umc_ray.web.site import CurrentSite, Site

CONCURRENT_HASHES = 2
"""Each password hash takes 64 MB of memory."""

WINDOW_S = 300.0
T = TypeVar("T")
router = APIRouter(include_in_schema=False)


class LoginThrottle:
    """Limits password guessing, per client address and per address and name."""

    def __init__(self) -> None:
        self._by_name = Throttle(limit=5, window_s=WINDOW_S)
        self._by_client = Throttle(limit=50, window_s=WINDOW_S)

    def wait_s(self, client: str, name: str) -> float:
        """Return how long a client must wait before trying a name again, 0 if it need not."""
        return max(self._by_name.wait_s(f"{client} {name}"), self._by_client.wait_s(client))

    def failed(self, client: str, name: str) -> None:
        """Count a password as wrong, before it is checked."""
        self._by_name.failed(f"{client} {name}")
        self._by_client.failed(client)

    def succeeded(self, client: str, name: str) -> None:
        """Take that back."""
        self._by_name.succeeded(f"{client} {name}")
        self._by_client.succeeded(client)


@router.get("/login")
def login_page(request: Request, next: str = "") -> Response:
    """Show the login form."""
    return page(request, "login.html", None, problem="", next=next)


@router.post("/login")
async def login(request: Request, site: CurrentSite) -> Response:
    """Start a session."""
    check_origin(request)
    fields = await form(request)
    name = fields.get("name", "").strip()[:100]
    client = _client(request)
    throttle: LoginThrottle = request.app.state.login_throttle
    target = fields.get("next", "")
    wait_s = throttle.wait_s(client, name)
    if wait_s:
        problem = f"Too many failed logins. Try again in {math.ceil(wait_s / 60)} min."
        headers = {"Retry-After": str(int(wait_s) + 1)}
        return page(request, "login.html", None, 429, headers, problem=problem, next=target)
    throttle.failed(client, name)
    key = await hashing(request, site.accounts.log_in, name, fields.get("password", ""))
    if key is None:
        problem = "Wrong name or password."
        return page(request, "login.html", None, 401, problem=problem, next=target)
    throttle.succeeded(client, name)
    response = RedirectResponse(_local_path(request, target), 303)
    _set_session_cookie(request, response, key)
    return response


def _set_session_cookie(request: Request, response: Response, key: str) -> None:
    response.set_cookie(
        COOKIE,
        key,
        max_age=int(SESSION_S),
        path=f"{_root(request)}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


@router.post("/logout")
def logout(request: Request, site: CurrentSite, person: Annotator) -> Response:
    """End the session and release what the person holds, as an annotator and as a reviewer."""
    release_all(site.store, site.name, person.name)
    site.accounts.revoke_key(request.cookies.get(COOKIE, ""))
    response = RedirectResponse(f"{_root(request)}/login", 303)
    response.delete_cookie(COOKIE, path=f"{_root(request)}/")
    return response


@router.get("/invitation/{key}")
def invitation(request: Request, key: str) -> Response:
    """Show the form by which somebody who was invited chooses a password."""
    return page(request, "invitation.html", None, key=key, problem="")


@router.post("/invitation/{key}")
async def accept_invitation(request: Request, site: CurrentSite, key: str) -> Response:
    """Set the password of a new account, once."""
    check_origin(request)
    fields = await form(request)
    try:
        password = _repeated(fields)
        await hashing(request, site.accounts.accept, key, password)
    except StoreError as error:
        return page(request, "invitation.html", None, 409, key=key, problem=str(error))
    return RedirectResponse(f"{_root(request)}/login", 303)


@router.get("/account")
def account_page(request: Request, site: CurrentSite, person: Annotator) -> Response:
    """Show a person's own account: password and API tokens."""
    return _account(request, site, person)


@router.post("/account")
async def change_own_account(request: Request, site: CurrentSite, person: Annotator) -> Response:
    """Change the own password, or make or revoke an API token."""
    fields = await form(request)
    try:
        if fields.get("do") == "password":
            return await _change_password(request, site, person, fields)
        secret = await run_in_threadpool(_change_tokens, site, person, fields)
    except StoreError as error:
        return _account(request, site, person, 409, problem=str(error))
    return _account(request, site, person, secret=secret)


async def _change_password(
    request: Request, site: Site, person: Person, fields: dict[str, str]
) -> Response:
    """Set another password; all sessions and tokens of the account end, and a new one begins."""
    password, client = _repeated(fields), _client(request)
    throttle: LoginThrottle = request.app.state.login_throttle
    if throttle.wait_s(client, person.name):
        raise StoreError("too many wrong passwords: try again in some minutes")
    throttle.failed(client, person.name)
    old = fields.get("old", "")
    if await hashing(request, site.accounts.log_in, person.name, old) is None:
        raise StoreError("the old password is wrong")
    throttle.succeeded(client, person.name)
    await hashing(request, site.accounts.set_password, person.name, password)
    key = await run_in_threadpool(site.accounts.create_key, person.name, "session")
    response = RedirectResponse(f"{_root(request)}/account", 303)
    _set_session_cookie(request, response, key)
    return response


def _change_tokens(site: Site, person: Person, fields: dict[str, str]) -> str:
    """Make or revoke an API token; returns what is shown once, if anything."""
    if fields.get("do") == "token":
        return site.accounts.create_key(person.name, "token")
    if fields.get("do") != "revoke":
        raise StoreError(f"there is no action {fields.get('do', '')!r:.100}")
    site.accounts.revoke_token(person.name, fields.get("token", ""))
    return ""


def _account(
    request: Request,
    site: Site,
    person: Person,
    status: int = 200,
    secret: str = "",
    problem: str = "",
) -> Response:
    return page(
        request,
        "account.html",
        person,
        status,
        here=person.name,
        tokens=site.accounts.tokens(person.name),
        secret=secret,
        problem=problem,
    )


def _repeated(fields: dict[str, str]) -> str:
    """Return a new password that was typed twice.

    Raises:
        StoreError: the two are not the same.
    """
    if fields.get("password", "") != fields.get("again", ""):
        raise StoreError("the two passwords are not the same")
    return fields.get("password", "")


async def hashing(request: Request, call: Callable[..., T], *args: str) -> T:
    """Hash or check a password in a thread, where at most a few others do so.

    Those that wait hold no thread: other requests must not wait for passwords.
    """
    limiter: CapacityLimiter = request.app.state.hashing
    return await to_thread.run_sync(call, *args, limiter=limiter)


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _local_path(request: Request, path: str) -> str:
    """Return a path of this application: `path` if it is one, else the start page."""
    is_local = path.startswith(f"{_root(request)}/") and not path.startswith(("//", "/\\"))
    return path if is_local and path.isascii() and path.isprintable() else f"{_root(request)}/"
