"""Who asks, whether they may, and whether it is their own page that asks for them."""

import hmac
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from umc_ray.web.accounts import Accounts, KeyKind, Person, Role

COOKIE = "umc_session"
CSRF_HEADER = "x-csrf-token"
MAX_FIELDS = 50
SAFE = ("GET", "HEAD", "OPTIONS")


def needs(role: Role) -> Callable[[Request], Awaitable[Person]]:
    """Return the dependency that lets a role in, by session or by token.

    A session's changes need the token that its own pages hold: other sites cannot read it. A
    program's token cannot be sent by a page of another site.
    """

    async def guard(request: Request) -> Person:
        accounts: Accounts = request.app.state.site.accounts
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        session = request.cookies.get(COOKIE)
        if kind.lower() == "bearer":
            person = await _person(accounts, token.strip(), "token")
        elif session:
            person = await _person(accounts, session, "session")
            if person is not None and request.method not in SAFE:
                await _check_csrf(request, session)
        else:
            person = None
        if person is None:
            raise HTTPException(
                401, "log in, or send a valid token", {"WWW-Authenticate": "Bearer"}
            )
        if not person.may(role):
            raise HTTPException(403, f"the role {role} is needed")
        return person

    guard.__name__ = f"needs_{role}"
    return guard


async def _person(accounts: Accounts, key: str, kind: KeyKind) -> Person | None:
    return accounts.cached_person(key, kind) or await run_in_threadpool(
        accounts.find_person, key, kind
    )


def csrf_token(session: str) -> str:
    """Return what the pages of a session send with every change."""
    return hmac.new(session.encode(), b"csrf", sha256).hexdigest()


async def form(request: Request) -> dict[str, str]:
    """Read the fields of a form; of several of one name, the last.

    Raises:
        HTTPException: 400, there are too many.
    """
    body = (await request.body()).decode(errors="replace")
    try:
        fields = parse_qs(body, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise HTTPException(400, f"a form may have {MAX_FIELDS} fields") from error
    return {name: values[-1] for name, values in fields.items()}


def check_origin(request: Request) -> None:
    """Refuse what another site's page sends, where there is no session yet.

    Raises:
        HTTPException: 403.
    """
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if site not in ("same-origin", "none") or foreign:
        raise HTTPException(403, "another site asked")


async def _check_csrf(request: Request, session: str) -> None:
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and _is_form(request):
        sent = (await form(request)).get("csrf")
    if not hmac.compare_digest((sent or "").encode(), csrf_token(session).encode()):
        raise HTTPException(403, "this page is not of your session: load it again")


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "")
    return kind.startswith("application/x-www-form-urlencoded")


class Throttle:
    """Counts failures by key, such as a client's address, within a window of time."""

    def __init__(self, limit: int, window_s: float, keys: int = 10_000) -> None:
        """Allow `limit` failures in `window_s` seconds; remember that many keys."""
        self._limit, self._window_s, self._keys = limit, window_s, keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._guard = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Return how long a key has to wait, 0 if it need not."""
        now = time.monotonic()
        with self._guard:
            times = self._failures.get(key, deque())
            while times and times[0] <= now - self._window_s:
                times.popleft()
            return times[0] + self._window_s - now if len(times) >= self._limit else 0.0

    def failed(self, key: str) -> None:
        """Note a failure."""
        with self._guard:
            times = self._failures.setdefault(key, deque(maxlen=self._limit))
            times.append(time.monotonic())
            self._failures.move_to_end(key)
            while len(self._failures) > self._keys:
                self._failures.popitem(last=False)


Annotator = Annotated[Person, Depends(needs("annotator"))]
Reviewer = Annotated[Person, Depends(needs("reviewer"))]
Admin = Annotated[Person, Depends(needs("admin"))]
