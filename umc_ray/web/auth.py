"""Authentication, role checks, CSRF protection, and login throttling."""

import hmac
import threading
import time
from collections import OrderedDict, deque
from hashlib import sha256
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from umc_ray.web.accounts import Accounts, KeyKind, Person, Role
from umc_ray.web.bodies import FORM_BYTES, read_body

COOKIE = "umc_session"
CSRF_HEADER = "x-csrf-token"
OLD_SESSION = {"X-Session": "old"}
"""Header by which a page knows that it must be loaded again."""

MAX_FIELDS = 100
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequireRole:
    """A dependency that requires a role, by session cookie or bearer token.

    A session's write requests need a CSRF token, which pages of other sites cannot read. Bearer
    tokens need none: browsers never send them on their own.
    """

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Person:
        """Return who sent a request.

        Raises:
            HTTPException: 401 if that is not known, 403 if they lack the role.
        """
        person = await _authenticate(request)
        if person is None:
            raise HTTPException(
                401, "log in, or send a valid token", {"WWW-Authenticate": "Bearer"}
            )
        if not person.may(self.role):
            raise HTTPException(
                403, f"this needs the role {self.role}; {person.name} is {person.role}"
            )
        return person


async def _authenticate(request: Request) -> Person | None:
    accounts: Accounts = request.app.state.site.accounts
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    session = request.cookies.get(COOKIE)
    if kind.lower() == "bearer":
        return await _person(accounts, token.strip(), "token")
    if not session:
        return None
    person = await _person(accounts, session, "session")
    if person is not None and request.method not in SAFE_METHODS:
        await _check_csrf(request, session)
    return person


async def _person(accounts: Accounts, key: str, kind: KeyKind) -> Person | None:
    cached = accounts.cached_person(key, kind)
    return cached or await run_in_threadpool(accounts.find_person, key, kind)


def csrf_token(session: str) -> str:
    """Return the token that a session's pages send with every write request."""
    return hmac.new(session.encode(), b"csrf", sha256).hexdigest()


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form; the last value counts if a name repeats.

    Raises:
        HTTPException: 400, too many fields.
    """
    return {name: values[-1] for name, values in (await form_values(request)).items()}


async def form_values(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form with all values of each.

    Raises:
        HTTPException: 400, too many fields; or the body is too large or takes too long.
    """
    body = (await read_body(request, FORM_BYTES)).decode(errors="replace")
    try:
        return parse_qs(body, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise HTTPException(400, f"a form may have at most {MAX_FIELDS} fields") from error


def check_origin(request: Request) -> None:
    """Reject requests from pages of other sites, for forms that have no session yet.

    Raises:
        HTTPException: 403, the request comes from another site.
    """
    fetch_site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    is_own = origin is None or _authority(origin) == request.headers.get("host")
    if fetch_site not in ("same-origin", "none") or not is_own:
        raise HTTPException(403, "requests from other sites are not allowed")


def _authority(origin: str) -> str | None:
    """Return the host and port of an origin, None of what is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


async def _check_csrf(request: Request, session: str) -> None:
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and _is_form(request):
        sent = (await form(request)).get("csrf")
    if not hmac.compare_digest((sent or "").encode(), csrf_token(session).encode()):
        raise HTTPException(403, "this page belongs to an old session: reload it", OLD_SESSION)


def _is_form(request: Request) -> bool:
    content_type = request.headers.get("content-type", "")
    return content_type.startswith("application/x-www-form-urlencoded")


class Throttle:
    """Limits failures per key, such as a client's address, within a time window."""

    def __init__(self, limit: int, window_s: float, keys: int = 10_000) -> None:
        """Allow `limit` failures in `window_s` seconds; track at most `keys` keys."""
        self._limit, self._window_s, self._keys = limit, window_s, keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Return how long a key must wait, 0 if it need not."""
        now = time.monotonic()
        with self._lock:
            times = self._failures.get(key, deque())
            while times and times[0] <= now - self._window_s:
                times.popleft()
            return times[0] + self._window_s - now if len(times) >= self._limit else 0.0

    def failed(self, key: str) -> None:
        """Count a failure, or an attempt that may become one: many could come at the same time."""
        with self._lock:
            times = self._failures.setdefault(key, deque(maxlen=self._limit))
            times.append(time.monotonic())
            self._failures.move_to_end(key)
            while len(self._failures) > self._keys:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Take back the attempt that was counted last."""
        with self._lock:
            times = self._failures.get(key)
            if times:
                times.pop()


Annotator = Annotated[Person, Depends(RequireRole("annotator"))]
Reviewer = Annotated[Person, Depends(RequireRole("reviewer"))]
Admin = Annotated[Person, Depends(RequireRole("admin"))]
