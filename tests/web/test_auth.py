import asyncio
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.web.worlds import PASSWORD, TEXT, ids
from umc_ray.web import admin, api, auth, auth_pages, exchange, history_page, pages, questions_page
from umc_ray.web.auth import COOKIE, RequireRole, Throttle, csrf_token
from umc_ray.web.security_headers import HEADERS

ROLES = ["annotator", "reviewer", "admin"]
OPEN = {(method, path) for method in ("GET", "POST") for path in ("/login", "/invitation/{key}")}
ROUTES = sorted(
    (method, route.path, route)
    for module in (api, exchange, auth_pages, admin, history_page, questions_page, pages)
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
)


def required_role(route):
    """Return the role that a route requires."""
    calls = [each.call for each in route.dependant.dependencies]
    return next((each.role for each in calls if isinstance(each, RequireRole)), None)


def test_all_routes_except_login_and_invitations_require_a_role(still_world):
    assert {(m, path) for m, path, route in ROUTES if required_role(route) is None} == OPEN
    paths = {route.path for route in still_world.app.routes if hasattr(route, "path")}
    assert paths - {path for _, path, _ in ROUTES} == {"/static"}


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [each for each in ROUTES if each[:2] not in OPEN],
    ids=[f"{m} {path}" for m, path, _ in ROUTES if (m, path) not in OPEN],
)
def test_anonymous_users_and_lower_roles_are_rejected_on_every_route(
    still_world, method, path, route
):
    url = re.sub(r"{\w+}", "1", path)
    assert still_world.client().request(method, url).status_code == 401
    forged = {"authorization": "Bearer x", "cookie": f"{COOKIE}=x"}
    assert still_world.client().request(method, url, headers=forged).status_code == 401
    for role in ROLES[: ROLES.index(required_role(route))]:
        assert still_world.client(role).request(method, url).status_code == 403


@pytest.fixture
def session(world):
    """Return a client with an annotator's session, and its CSRF token."""
    client = world.client()
    fields = {"name": "annotator", "password": PASSWORD}
    assert client.post("/login", data=fields, follow_redirects=False).status_code == 303
    return client, csrf_token(client.cookies[COOKIE])


def test_write_requests_of_a_session_need_its_csrf_token(world, session):
    client, token = session
    assert client.get("/api/progress").status_code == 200
    assert client.post("/api/heartbeat").status_code == 403
    assert client.post("/api/heartbeat", headers={"x-csrf-token": "0" * 64}).status_code == 403
    assert client.post("/logout", data={"csrf": csrf_token("another's")}).status_code == 403
    assert client.post("/api/heartbeat", headers={"x-csrf-token": token}).status_code == 204
    assert client.post("/logout", data={"csrf": token}, follow_redirects=False).status_code == 303
    assert client.get("/api/progress").status_code == 401


def test_logging_out_releases_leases(world, session):
    client, token = session
    held = client.get("/api/questions?n=3").json()
    assert world.client("admin").get("/api/questions?n=3").json() != held
    client.post("/logout", data={"csrf": token}, follow_redirects=False)
    assert world.client("reviewer").get("/api/questions?n=3").json() == held


def test_the_session_cookie_is_httponly_and_secure(world):
    login = {"data": {"name": "admin", "password": PASSWORD}, "follow_redirects": False}
    assert "HttpOnly" in world.client().post("/login", **login).headers["set-cookie"]
    answer = world.client().post("https://testserver/login", **login)
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/review?batch=x", "/review?batch=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
    ],
)
def test_login_redirects_only_to_local_paths(still_world, path, target):
    fields = {"name": "admin", "password": PASSWORD, "next": path}
    answer = still_world.client().post("/login", data=fields, follow_redirects=False)
    assert answer.headers["location"] == target


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_login_from_another_site_is_rejected(still_world, headers):
    fields = {"name": "admin", "password": PASSWORD}
    assert still_world.client().post("/login", data=fields, headers=headers).status_code == 403


def test_guesses_at_the_same_time_count_like_those_in_a_row(world):
    async def guess(client, number):
        fields = {"name": "admin", "password": f"guess {number}"}
        return (await client.post("/login", data=fields)).status_code

    async def guesses():
        transport = httpx.ASGITransport(world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(guess(client, number) for number in range(20)))

    assert Counter(asyncio.run(guesses())) == {401: 5, 429: 15}


def test_logins_that_succeed_do_not_count(world):
    client = world.client()
    fields = {"name": "admin", "password": PASSWORD}
    for _ in range(7):
        assert client.post("/login", data=fields, follow_redirects=False).status_code == 303


def test_too_many_failed_logins_block_even_the_right_password(world):
    client = world.client()
    codes = [
        client.post("/login", data={"name": "admin", "password": f"guess {i}"}).status_code
        for i in range(6)
    ]
    assert codes == [401] * 5 + [429]
    last = client.post("/login", data={"name": "admin", "password": PASSWORD})
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) > 0


def test_failures_expire_and_the_oldest_keys_are_evicted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now[0])
    throttle = Throttle(limit=2, window_s=10, keys=2)
    throttle.failed("a")
    assert throttle.wait_s("a") == 0
    now[0] = 1
    throttle.failed("a")
    assert throttle.wait_s("a") == 9
    now[0] = 10.5
    assert throttle.wait_s("a") == 0
    for key in "abc":
        throttle.failed(key)
        throttle.failed(key)
    assert [throttle.wait_s(key) > 0 for key in "abc"] == [False, True, True]


@pytest.mark.parametrize("path", ["/", "/login", "/static/page.js", "/nothing", "/api/progress"])
def test_every_response_has_the_security_headers(still_world, path):
    for role in (None, "admin"):
        headers = still_world.client(role).get(path).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert "unsafe" not in headers["content-security-policy"]


def test_a_body_that_is_too_large_is_rejected(still_world):
    client = still_world.client("admin")
    big = b"x" * 20_000_001
    assert client.post("/api/labels", content=big).status_code == 413
    pieces = (big[:5_000_000] for _ in range(5))
    assert client.post("/api/labels", content=pieces).status_code == 413


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"],
)
def test_nothing_outside_the_static_files_is_served(still_world, path):
    assert still_world.client().get(path).status_code == 404


def test_a_form_with_too_many_fields_is_rejected(still_world):
    fields = {f"field{i}": "x" for i in range(101)}
    answer = still_world.client().post("/login", data=fields)
    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["../../../etc/passwd", "%2e%2e", str(2**70), "1.5", "x"])
def test_only_images_of_samples_with_a_question_are_served(still_world, name):
    client = still_world.client("annotator")
    assert client.get(f"/images/digits/{name}").status_code in (404, 422)
    assert client.get("/images/digits/77").status_code == 409
    assert client.get(f"/images/mood/{ids(TEXT, 2)[0]}").status_code == 409


def test_people_change_their_own_password_and_only_this_session_goes_on(world, session):
    client, token = session
    other = world.site.accounts.create_key("annotator", "session")
    new = {"csrf": token, "do": "password", "password": "another horse", "again": "another horse"}
    wrong = client.post("/account", data={**new, "old": "guess"})
    assert (wrong.status_code, "the old password is wrong" in wrong.text) == (409, True)
    unlike = client.post("/account", data={**new, "old": PASSWORD, "again": "typo typo typo"})
    assert (unlike.status_code, "not the same" in unlike.text) == (409, True)
    assert client.get("/account").status_code == 200
    done = client.post("/account", data={**new, "old": PASSWORD}, follow_redirects=False)
    assert done.status_code == 303
    assert client.get("/account").status_code == 200
    assert world.site.accounts.find_person(other, "session") is None
    assert world.site.accounts.log_in("annotator", "another horse") is not None
    assert world.site.accounts.log_in("annotator", PASSWORD) is None


def test_guessing_the_old_password_is_throttled(world, session):
    client, token = session
    new = {"csrf": token, "do": "password", "password": "another horse", "again": "another horse"}
    for i in range(5):
        client.post("/account", data={**new, "old": f"guess {i}"})
    last = client.post("/account", data={**new, "old": PASSWORD})
    assert (last.status_code, "too many wrong passwords" in last.text) == (409, True)


def test_people_make_and_revoke_tokens_of_their_own(world, session):
    client, token = session
    made = client.post("/account", data={"csrf": token, "do": "token"}).text
    key = re.search(r"<code>(.+?)</code>", made)[1]
    assert world.site.accounts.find_person(key, "token").name == "annotator"
    own, others = (world.site.accounts.tokens(name) for name in ("annotator", "admin"))
    ids_shown = re.findall(r'name="token" value="(\w+)"', made)
    assert ids_shown == [each.id for each in own]
    refused = client.post("/account", data={"csrf": token, "do": "revoke", "token": others[0].id})
    assert refused.status_code == 409
    client.post("/account", data={"csrf": token, "do": "revoke", "token": own[-1].id})
    assert world.site.accounts.find_person(key, "token") is None
    assert len(world.site.accounts.tokens("admin")) == 1


def test_passwords_that_are_checked_leave_threads_to_other_requests(world, monkeypatch):
    checking, waits = threading.Event(), threading.Event()

    def slow(*_):
        checking.set()
        assert waits.wait(60)

    monkeypatch.setattr(world.site.accounts, "log_in", slow)
    with world.client("annotator") as client, ThreadPoolExecutor(50) as pool:
        people = [{"name": f"eve{number}", "password": "x"} for number in range(45)]
        logins = [pool.submit(client.post, "/login", data=fields) for fields in people]
        assert checking.wait(60)
        assert client.get("/api/questions").status_code == 200  # it needs one of 40 threads
        assert not any(each.done() for each in logins)
        waits.set()
