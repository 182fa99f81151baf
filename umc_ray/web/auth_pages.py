"""Logging in and out, and the page where admins see and change who works here."""

import secrets
from typing import Literal, get_args

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from umc_ray.errors import StoreError
from umc_ray.web.accounts import ROLES, SESSION_S, Account
from umc_ray.web.auth import COOKIE, Admin, Annotator, Throttle, check_origin, form
from umc_ray.web.pages import page
from umc_ray.web.people import people
from umc_ray.web.site import CurrentSite, Queue, Site

WINDOW_S = 300.0
router = APIRouter(include_in_schema=False)
AdminAction = Literal["add", "change", "end", "password", "token"]


class LoginThrottle:
    """Slows those down who try passwords: by name and address, and by address."""

    def __init__(self) -> None:
        self._of_name = Throttle(limit=5, window_s=WINDOW_S)
        self._of_client = Throttle(limit=50, window_s=WINDOW_S)

    def wait_s(self, client: str, name: str) -> float:
        """Return how long this client has to wait with this name."""
        return max(self._of_name.wait_s(f"{client} {name}"), self._of_client.wait_s(client))

    def failed(self, client: str, name: str) -> None:
        """Note a wrong password."""
        self._of_name.failed(f"{client} {name}")
        self._of_client.failed(client)


@router.get("/login")
def login_page(request: Request, next: str = "") -> Response:
    """Ask for name and password."""
    return page(request, "login.html", None, problem="", next=next)


@router.post("/login")
async def login(request: Request, site: CurrentSite) -> Response:
    """Open a session."""
    check_origin(request)
    fields = await form(request)
    name, client = (
        fields.get("name", "").strip()[:100],
        request.client.host if request.client else "",
    )
    login_throttle: LoginThrottle = request.app.state.login_throttle
    going = fields.get("next", "")
    wait = login_throttle.wait_s(client, name)
    if wait:
        problem = f"Too many attempts: wait {wait / 60:.0f} minutes."
        headers = {"Retry-After": str(int(wait) + 1)}
        return page(request, "login.html", None, 429, headers, problem=problem, next=going)
    key = await run_in_threadpool(site.accounts.log_in, name, fields.get("password", ""))
    if key is None:
        login_throttle.failed(client, name)
        problem = "Name or password is wrong."
        return page(request, "login.html", None, 401, problem=problem, next=going)
    response = RedirectResponse(_local(request, going), 303)
    response.set_cookie(
        COOKIE,
        key,
        max_age=int(SESSION_S),
        path=f"{_root(request)}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


@router.post("/logout")
def logout(request: Request, site: CurrentSite, person: Annotator) -> Response:
    """End the session, and give back what was on the screen."""
    site.leases(person, site.name).release()
    site.accounts.revoke_key(request.cookies.get(COOKIE, ""))
    response = RedirectResponse(f"{_root(request)}/login", 303)
    response.delete_cookie(COOKIE, path=f"{_root(request)}/")
    return response


@router.get("/admin")
def admin_page(request: Request, site: CurrentSite, queue: Queue, person: Admin) -> Response:
    """Show who works here, and how."""
    return _admin(request, site, queue, person)


@router.post("/admin/accounts")
async def change_account(
    request: Request, site: CurrentSite, queue: Queue, person: Admin
) -> Response:
    """Add or change an account."""
    fields = await form(request)
    try:
        told, secret = await run_in_threadpool(_do, site, fields)
    except StoreError as error:
        return _admin(request, site, queue, person, status=409, problem=str(error))
    return _admin(request, site, queue, person, told=told, secret=secret)


def _do(site: Site, fields: dict[str, str]) -> tuple[str, str]:
    """Do what an admin asks; returns what to say, and what to show only once."""
    name, role = fields.get("name", "").strip(), fields.get("role", "annotator")
    deed = fields.get("do", "")
    if role not in ROLES or deed not in get_args(AdminAction):
        raise StoreError("there is no such role, or nothing like that can be done")
    accounts, password = site.accounts, secrets.token_urlsafe(12)
    if deed == "add":
        accounts.add(name, role, password)
        return f"The password of {name} is", password
    if deed == "password":
        accounts.set_password(name, password)
        return f"The new password of {name} is", password
    if deed == "token":
        if not any(each == Account(name, each.role, True) for each in accounts.all()):
            raise StoreError(f"there is no active account {name}")
        return f"An API token of {name} is", accounts.create_key(name, "token")
    accounts.change(name, role, active=deed != "end")
    return f"{name} is changed.", ""


def _admin(
    request: Request,
    site: Site,
    queue: str,
    person: Admin,
    status: int = 200,
    told: str = "",
    secret: str = "",
    problem: str = "",
) -> Response:
    done, asked = site.progress(queue)
    return page(
        request,
        "admin.html",
        person,
        status,
        here="People",
        done=done,
        asked=asked,
        people=people(site.store, queue, site.run.classes),
        accounts=site.accounts.all(),
        roles=ROLES,
        told=told,
        secret=secret,
        problem=problem,
    )


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _local(request: Request, path: str) -> str:
    """Return where to go after logging in: a path of this page, never another site."""
    inside = path.startswith(f"{_root(request)}/") and not path.startswith(("//", "/\\"))
    return path if inside and path.isascii() and path.isprintable() else f"{_root(request)}/"
