"""The admin page: annotator statistics, accounts, invitations, and API tokens."""

from typing import Literal, get_args

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from umc_ray.annotation.assignments import unassign_all
from umc_ray.errors import StoreError
from umc_ray.web.accounts import ROLES, Role
from umc_ray.web.auth import Admin, form
from umc_ray.web.pages import page
from umc_ray.web.people import people_summary
from umc_ray.web.site import CurrentSite, Queue, Site

router = APIRouter(include_in_schema=False)
Action = Literal["add", "change", "end", "password", "token", "revoke", "domains"]


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
        notice, secret = await run_in_threadpool(_apply, site, fields, str(request.base_url))
    except StoreError as error:
        return _admin(request, site, queue, person, status=409, problem=str(error))
    return _admin(request, site, queue, person, notice=notice, secret=secret)


def _apply(site: Site, fields: dict[str, str], base: str) -> tuple[str, str]:
    """Apply an admin action; return the notice and the secret to show with it, if any."""
    name, role = fields.get("name", "").strip(), fields.get("role", "annotator")
    action = fields.get("do", "")
    if role not in ROLES:
        raise StoreError(f"there is no role {role!r:.100}; use one of {', '.join(ROLES)}")
    if action not in get_args(Action):
        raise StoreError(f"there is no action {action!r:.100}")
    if action in ("change", "end"):
        site.accounts.change(name, role, active=action != "end")
        if action == "end":
            unassign_all(site.store, name)
    elif action == "domains":
        site.set_skills(name, fields.get("domains", ""))
    elif action == "revoke":
        site.accounts.revoke_token(name, fields.get("token", ""))
    else:
        return _with_secret(site, name, role, action, base)
    return f"Account {name} updated.", ""


def _with_secret(site: Site, name: str, role: Role, action: str, base: str) -> tuple[str, str]:
    """Invite somebody, or let them set a new password, or make a token for them."""
    accounts = site.accounts
    if action == "add":
        return f"Invitation of {name}:", f"{base}invitation/{accounts.invite(name, role)}"
    if not any(each.name == name and each.active for each in accounts.all()):
        raise StoreError(f"there is no active account {name}")
    if action == "token":
        return f"New API token of {name}:", accounts.create_key(name, "token")
    key = accounts.create_key(name, "invitation")
    return f"{name} can set a new password:", f"{base}invitation/{key}"


def _unasked(site: Site, queue: str) -> list[str]:
    """Return the domains with open questions that no active account is asked about."""
    found = {f"{each.task}/{each.domain}" for each in site.store.open_questions(queue)}
    skills = site.skills()
    own = [skills.get(each.name, ()) for each in site.accounts.all() if each.active]
    return sorted(each for each in found if all(names and each not in names for names in own))


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
        tokens=site.accounts.tokens(),
        roles=ROLES,
        skills=site.skills(),
        unasked=_unasked(site, queue),
        notice=notice,
        secret=secret,
        problem=problem,
    )
