"""A request whose replica dies is sent to another one, once, or refused; never an error 500."""

import asyncio
import json

import pytest

from umc_ray.serving import resending
from umc_ray.serving.resending import Resending

PARTS = [
    {"type": "http.request", "body": b"one, ", "more_body": True},
    {"type": "http.request", "body": b"two", "more_body": False},
]
GONE = {"type": "http.disconnect"}


class Serve:
    """Stands for Serve's proxy: each attempt reads so many messages, then answers or dies."""

    def __init__(self, *attempts, reads=2):
        self.attempts, self.reads, self.bodies = list(attempts), reads, []

    async def __call__(self, scope, receive, send):
        scope["headers"].append((b"x-request-id", b"of Serve"))
        self.bodies.append(
            b"".join([(await receive()).get("body", b"") for _ in range(self.reads)])
        )
        attempt = self.attempts.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        for message in attempt:
            await send(message)


def asked(serve, *messages, scope=None):
    """Ask a proxy; returns what it sends."""
    incoming, sent = [*messages], []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        sent.append(message)

    scope = scope or {"type": "http", "method": "POST", "headers": []}
    asyncio.run(Resending(serve)(scope, receive, send))
    return sent


def answer(status=200, body=b"scores", headers=()):
    return [
        {"type": "http.response.start", "status": status, "headers": list(headers)},
        {"type": "http.response.body", "body": body},
    ]


DIED = []
HALF = answer()[:1]
"""It died between the start of its answer and the body."""


@pytest.mark.parametrize(
    "death", [DIED, HALF, RuntimeError("no handle")], ids=["died", "half", "e"]
)
def test_a_request_without_an_answer_is_sent_again_as_it_was(death):
    scope = {"type": "http", "method": "POST", "headers": [(b"host", b"here")]}
    serve = Serve(death, answer())
    assert asked(serve, *PARTS, scope=scope) == answer()
    assert serve.bodies == [b"one, two"] * 2
    assert scope["headers"] == [(b"host", b"here")]


def test_what_the_first_replica_did_not_read_comes_from_the_client():
    first, second = Serve(DIED, reads=1), Serve(answer())
    replicas = [first, second]

    async def app(scope, receive, send):
        await replicas.pop(0)(scope, receive, send)

    assert asked(app, *PARTS) == answer()
    assert (first.bodies, second.bodies) == ([b"one, "], [b"one, two"])


def test_a_body_that_comes_byte_by_byte_is_passed_on_in_few_parts(monkeypatch):
    monkeypatch.setattr(resending, "PART_BYTES", 3)
    parts = [{"type": "http.request", "body": b"%d" % i, "more_body": i < 8} for i in range(9)]
    read = []

    async def app(scope, receive, send):
        read.append([(await receive())["body"] for _ in range(4)])
        if len(read) == 2:
            await Serve(answer(), reads=0)(scope, receive, send)

    assert asked(app, *parts) == answer()
    assert read == [[b"0", b"123", b"456", b"78"]] * 2


def test_a_client_that_leaves_in_the_middle_of_a_part_is_gone():
    serve = Serve(answer(), reads=2)
    assert asked(serve, PARTS[0], PARTS[0], GONE) == answer()
    assert serve.bodies == [b"one, "]


def test_a_request_is_sent_twice_at_most_then_refused_with_a_time():
    serve = Serve(DIED, HALF)
    start, body = asked(serve, *PARTS)
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert json.loads(body["body"])["error"] == "the process that had this request has ended"
    assert serve.attempts == []


def test_the_request_of_a_client_that_has_left_is_not_sent_again():
    serve = Serve(DIED, answer())
    assert asked(serve, PARTS[0], GONE) == []
    assert len(serve.bodies) == 1


def test_an_error_of_the_endpoint_itself_stays_one():
    error = answer(500, b"a bug")
    assert asked(Serve(error), *PARTS) == error


def test_an_answer_that_breaks_off_is_not_given_twice():
    begun = [*answer()[:1], {"type": "http.response.body", "body": b"a", "more_body": True}]
    serve = Serve(begun, answer())
    assert asked(serve, *PARTS) == begun
    assert len(serve.bodies) == 1


@pytest.mark.parametrize(("own", "expected"), [([], b"1"), ([(b"retry-after", b"9")], b"9")])
def test_every_503_says_when_to_try_again(own, expected):
    start, _ = asked(Serve(answer(503, b"no replica", own)), *PARTS)
    assert dict(start["headers"])[b"retry-after"] == expected


def test_a_proxy_holds_so_many_bytes_at_most(monkeypatch):
    monkeypatch.setattr(resending, "MOST_HELD_BYTES", 7)
    serve = Serve(answer())
    start, _ = asked(serve, *PARTS)
    assert (start["status"], serve.bodies) == (503, [])
    proxy = Resending(Serve(answer(), answer(), reads=1))

    async def receive():
        return PARTS[0]

    async def send(message):
        pass

    async def two():
        for _ in range(2):  # what the first one held is free again
            await proxy({"type": "http", "headers": []}, receive, send)

    asyncio.run(two())
    assert proxy.held_bytes == 0
    assert proxy.app.attempts == []
