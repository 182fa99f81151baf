"""Login and logout, and the admin page: annotator statistics and accounts."""

import math
import secrets
from typing import Literal, get_args

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from umc_ray.errors import StoreError
from umc_ray.web.accounts import ROLES, SESSION_S, Account
from umc_ray.web.auth import COOKIE, Admin, Annotator, Throttle, check_origin, form
from umc_ray.web.pages import page
from umc_ray.web.people import people_summary
from umc_ray.web.site import CurrentSite, Queue, Site

WINDOW_S = 300.0
router = APIRouter(include_in_schema=False)
AdminAction = Literal["add", "change", "end", "password", "token"]


class LoginThrottle:
    """Limits password guessing, per client address and per address and name."""

    def __init__(self) -> None:
        self._by_name = Throttle(limit=5, window_s=WINDOW_S)
        self._by_client = Throttle(limit=50, window_s=WINDOW_S)

    def wait_s(self, client: str, name: str) -> float:
        """Return how long a client must wait before trying a name again, 0 if it need not."""
        return max(self._by_name.wait_s(f"{client} {name}"), self._by_client.wait_s(client))

    def failed(self, client: str, name: str) -> None:
        """Count a wrong password."""
        self._by_name.failed(f"{client} {name}")
        self._by_client.failed(client)


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
    client = request.client.host if request.client else ""
    throttle: LoginThrottle = request.app.state.login_throttle
    target = fields.get("next", "")
    wait_s = throttle.wait_s(client, name)
    if wait_s:
        problem = f"Too many failed logins. Try again in {math.ceil(wait_s / 60)} min."
        headers = {"Retry-After": str(int(wait_s) + 1)}
        return page(request, "login.html", None, 429, headers, problem=problem, next=target)
    key = await run_in_threadpool(site.accounts.log_in, name, fields.get("password", ""))
    if key is None:
        throttle.failed(client, name)
        problem = "Wrong name or password."
        return page(request, "login.html", None, 401, problem=problem, next=target)
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
    """End the session and release its leases."""
    site.leases(person, site.name).release()
    site.accounts.revoke_key(request.cookies.get(COOKIE, ""))
    response = RedirectResponse(f"{_root(request)}/login", 303)
    response.delete_cookie(COOKIE, path=f"{_root(request)}/")
    return response


@router.get("/admin")
def admin_page(request: Request, site: CurrentSite, queue: Queue, person: Admin) -> Response:
    """Show annotator statistics and accounts."""
    return _admin(request, site, queue, person)


@router.post("/admin/accounts")
async def change_account(
    request: Request, site: CurrentSite, queue: Queue, person: Admin
) -> Response:
    """Add or change an account."""
    fields = await form(request)
    try:
        notice, secret = await run_in_threadpool(_apply, site, fields)
    except StoreError as error:
        return _admin(request, site, queue, person, status=409, problem=str(error))
    return _admin(request, site, queue, person, notice=notice, secret=secret)


def _apply(site: Site, fields: dict[str, str]) -> tuple[str, str]:
    """Apply an admin action; return the notice and the secret to show with it, if any."""
    name, role = fields.get("name", "").strip(), fields.get("role", "annotator")
    action = fields.get("do", "")
    if role not in ROLES:
        raise StoreError(f"there is no role {role!r:.100}; use one of {', '.join(ROLES)}")
    if action not in get_args(AdminAction):
        raise StoreError(f"there is no action {action!r:.100}")
    accounts, password = site.accounts, secrets.token_urlsafe(12)
    if action == "add":
        accounts.add(name, role, password)
        return f"Password of {name}:", password
    if action == "password":
        accounts.set_password(name, password)
        return f"New password of {name}:", password
    if action == "token":
        if not any(each == Account(name, each.role, True) for each in accounts.all()):
            raise StoreError(f"there is no active account {name}")
        return f"New API token of {name}:", accounts.create_key(name, "token")
    accounts.change(name, role, active=action != "end")
    return f"Account {name} updated.", ""


def _admin(
    request: Request,
    site: Site,
    queue: str,
    person: Admin,
    status: int = 200,
    notice: str = "",
    secret: str = "",
    problem: str = "",
) -> Response:
    done, total = site.progress(queue)
    return page(
        request,
        "admin.html",
        person,
        status,
        here="People",
        done=done,
        total=total,
        people=people_summary(site.store, queue, site.run.kinds),
        accounts=site.accounts.all(),
        roles=ROLES,
        notice=notice,
        secret=secret,
        problem=problem,
    )


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _local_path(request: Request, path: str) -> str:
    """Return a path of this application: `path` if it is one, else the start page."""
    is_local = path.startswith(f"{_root(request)}/") and not path.startswith(("//", "/\\"))
    return path if is_local and path.isascii() and path.isprintable() else f"{_root(request)}/"
