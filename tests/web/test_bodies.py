"""Bodies of requests: whose are read at all, and within which limits."""

import asyncio
import json
import re

import pydantic
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.web.test_api import KEY, sample
from tests.web.test_auth import OPEN, ROLES, ROUTES, required_role
from umc_ray.web.bodies import FORM_BYTES, JSON_BYTES, read_body
from umc_ray.web.messages import BatchIn

JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"
POSTS = [each for each in ROUTES if each[0] == "POST" and each[:2] not in OPEN]


class Sent:
    """A request to the application whose body is watched."""

    def __init__(self, path, role_token=None, kind=JSON_TYPE, parts=(), **headers):
        pairs = {"host": "testserver", "content-type": kind, **headers}
        if role_token:
            pairs["authorization"] = f"Bearer {role_token}"
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
            "client": ("127.0.0.1", 1),
        }
        self.parts, self.received, self.status = list(parts), 0, None

    async def receive(self):
        self.received += 1
        if not self.parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": True}

    async def send(self, message):
        self.status = message.get("status", self.status)

    def answered_by(self, app):
        asyncio.run(app(self.scope, self.receive, self.send))
        return self.status


@pytest.mark.parametrize("kind", [JSON_TYPE, FORM_TYPE])
@pytest.mark.parametrize(
    ("path", "route"), [each[1:] for each in POSTS], ids=[each[1] for each in POSTS]
)
def test_the_body_of_somebody_who_may_not_send_it_is_not_read(still_world, path, route, kind):
    url = re.sub(r"{\w+}", "1", path)
    stranger = Sent(url, kind=kind, parts=[b"x"])
    assert (stranger.answered_by(still_world.app), stranger.received) == (401, 0)
    forged = Sent(url, kind=kind, parts=[b"x"], cookie="umc_session=x")
    assert (forged.answered_by(still_world.app), forged.received) == (401, 0)
    for role in ROLES[: ROLES.index(required_role(route))]:
        member = Sent(url, still_world.tokens[role], kind, [b"x"])
        assert (member.answered_by(still_world.app), member.received) == (403, 0)


def answer(**values):
    return json.dumps({"client_key": KEY, "samples": [sample(0)], "label": "good", **values})


HOSTILE = {
    "many lists": (413, "[" + "[]," * 300_000 + "[]]"),
    "many zeros": (413, '{"samples": [' + "0," * 400_000 + "0]}"),
    "zeros within the bounds": (422, '{"samples": [' + "0," * 19_000 + "0]}"),
    "labels within the bounds": (422, '{"label": [' + "0," * 19_000 + "0]}"),
    "many keys": (422, json.dumps({f"k{i}": 1 for i in range(1001)})),
    "deep lists": (422, '{"samples": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": (422, '{"a":' * 100_000 + "1" + "}" * 100_000),
    "a long number": (422, '{"seconds": ' + "9" * 500_000 + "}"),
    "no UTF-8": (422, answer().encode("utf-16")),
    "no JSON": (422, "{"),
    "too large": (413, answer(reason="x" * JSON_BYTES)),
}


@pytest.mark.parametrize(("status", "body"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_of_a_member_is_refused_in_a_few_words(still_world, status, body):
    client = still_world.client("annotator")
    answered = client.post("/api/answers", content=body, headers={"content-type": JSON_TYPE})
    assert answered.status_code == status
    assert len(answered.json()["detail"]) < 300


def test_a_batch_can_be_larger_than_an_answer(still_world):
    body = {"task": "none", "domain": "posts", "samples": [{"text": "x" * 900_000}] * 2}
    answered = still_world.client("reviewer").post("/api/batches/b", json=body)
    assert (answered.status_code, answered.json()["detail"][:16]) == (422, "there is no task")


def test_only_the_first_mistake_in_a_batch_is_looked_for():
    """Half a million of them would take seconds."""
    samples = [{"text": "x", "votes": 0}] * 2
    with pytest.raises(pydantic.ValidationError) as caught:
        BatchIn.model_validate({"task": "mood", "domain": "posts", "samples": samples})
    assert [each["loc"] for each in caught.value.errors()] == [("samples", 0, "votes")]


@pytest.mark.parametrize("path", ["/login", "/invitation/x"])
def test_a_stranger_can_send_a_form_but_not_more(still_world, path):
    declared = Sent(path, kind=FORM_TYPE, parts=[b"x"], **{"content-length": str(FORM_BYTES + 1)})
    assert (declared.answered_by(still_world.app), declared.received) == (413, 0)
    chunked = Sent(path, kind=FORM_TYPE, parts=[b"x" * FORM_BYTES, b"x", b"x"])
    assert (chunked.answered_by(still_world.app), chunked.received) == (413, 2)
    gone = Sent(path, kind=FORM_TYPE, parts=[b"name="])
    assert gone.answered_by(still_world.app) == 400


def test_a_body_that_does_not_come_is_not_waited_for():
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(HTTPException, match="408: the request body did not arrive in time"):
        asyncio.run(read_body(Request(Sent("/login").scope, receive), 10, within_s=0.01))


def test_a_body_is_read_once():
    messages = [{"type": "http.request", "body": b"a", "more_body": False}]

    async def receive():
        return messages.pop()

    async def twice():
        request = Request(Sent("/login").scope, receive)
        return [await read_body(request, 10) for _ in range(2)]

    assert asyncio.run(twice()) == [b"a", b"a"]
