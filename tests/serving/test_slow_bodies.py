"""Requests whose bodies are there are passed on at once, the others in turns."""

import asyncio

import pytest

from umc_ray.serving import slow_bodies
from umc_ray.serving.slow_bodies import SlowBodies

SCOPE = {"type": "http", "method": "POST", "headers": []}


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


WHOLE = (part(b"whole", more=False),)
GONE = {"type": "http.disconnect"}


class Client:
    """Sends some parts of a request at once, and others when it is told to."""

    def __init__(self, *parts):
        self.parts = asyncio.Queue()
        for each in parts:
            self.parts.put_nowait(each)
        self.status = None

    async def send(self, message):
        self.status = message.get("status", self.status)

    def ask(self, proxy):
        return asyncio.create_task(proxy(SCOPE, self.parts.get, self.send))


class Serve:
    """Stands for Serve: reads the body, and answers."""

    def __init__(self):
        self.asked, self.bodies = asyncio.Semaphore(0), []

    async def __call__(self, scope, receive, send):
        self.asked.release()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200})


@pytest.fixture
def no_turns(monkeypatch):
    """Nobody's turn ever comes."""
    monkeypatch.setattr(slow_bodies, "TURN_S", 3600)


@pytest.fixture
def many_turns(monkeypatch):
    monkeypatch.setattr(slow_bodies, "TURN_S", 0)


def test_a_whole_request_passes_those_that_wait(no_turns):
    async def scenario():
        serve, whole = Serve(), Client(*WHOLE)
        proxy = SlowBodies(serve)
        waiting = [Client(part(b"{")).ask(proxy) for _ in range(3)]
        await whole.ask(proxy)
        assert (serve.bodies, whole.status) == ([b"whole"], 200)
        assert not any(each.done() for each in waiting)

    asyncio.run(scenario())


def test_a_request_that_waits_is_passed_on_when_its_body_has_come(no_turns):
    async def scenario():
        serve, client = Serve(), Client(part(b"one, "))
        proxy = SlowBodies(serve)
        asked = [Client(part(b"{")).ask(proxy), client.ask(proxy)]
        for each in (part(b"two, "), part(b"three", more=False)):
            client.parts.put_nowait(each)
        await asked[1]
        assert (serve.bodies, client.status) == ([b"one, two, three"], 200)

    asyncio.run(scenario())


def test_a_large_body_is_left_to_the_limits_of_the_application(no_turns, monkeypatch):
    monkeypatch.setattr(slow_bodies, "MOST_BYTES", 10)

    async def scenario():
        serve, client = Serve(), Client(part(b"12345"), part(b"67890"))
        asked = client.ask(SlowBodies(serve))
        await serve.asked.acquire()
        client.parts.put_nowait(part(b"!", more=False))
        await asked
        assert serve.bodies == [b"1234567890!"]

    asyncio.run(scenario())


@pytest.mark.parametrize("begun", [(), (part(b"{"),), (part(b"{"), part(b'"'))])
def test_in_its_turn_a_request_is_passed_on_before_its_body(many_turns, begun):
    async def scenario():
        serve, client = Serve(), Client(*begun)
        asked = client.ask(SlowBodies(serve))
        await serve.asked.acquire()
        assert client.status is None
        client.parts.put_nowait(part(b"}", more=False))
        await asked
        assert serve.bodies == [b"".join(each["body"] for each in begun) + b"}"]

    asyncio.run(scenario())


def test_there_is_one_turn_at_a_time(monkeypatch):
    turns = asyncio.Semaphore(0)

    async def sleep(seconds):
        await turns.acquire()

    monkeypatch.setattr(slow_bodies.asyncio, "sleep", sleep)

    async def scenario():
        serve = Serve()
        proxy = SlowBodies(serve)
        clients = [Client(part(b"%d" % number)) for number in range(3)]
        asked = [each.ask(proxy) for each in clients]
        for number, client in enumerate(clients):
            turns.release()
            await serve.asked.acquire()
            client.parts.put_nowait(part(b"", more=False))
            await asked[number]
        assert serve.bodies == [b"0", b"1", b"2"]

    asyncio.run(scenario())


def test_who_has_gone_costs_serve_nothing(no_turns):
    async def scenario():
        serve, client = Serve(), Client(part(b"{"), GONE)
        await client.ask(SlowBodies(serve))
        assert serve.asked.locked()

    asyncio.run(scenario())


def test_a_request_without_a_turn_is_refused(no_turns, monkeypatch):
    monkeypatch.setattr(slow_bodies, "WAIT_S", 0.01)

    async def scenario():
        serve, client = Serve(), Client(part(b"{"))
        await client.ask(SlowBodies(serve))
        assert client.status == 408
        assert serve.asked.locked()

    asyncio.run(scenario())
