"""The clients, against a fake and a real endpoint."""

import asyncio
import json
from types import SimpleNamespace

import httpx
import pydantic
import pytest

from umc_ray.client import AsyncClient, Client, EndpointError
from umc_ray.errors import ConfigError
from umc_ray.serving.client_batch import Batch
from umc_ray.serving.messages import EmbedResponse, Sample, SampleEmbedding

TEXTS = ["good word1", " ", "sad word2", "great", "poor", " ", " "]
SAMPLES = [Sample(id=f"n{i}", text=text) for i, text in enumerate(TEXTS)]


class FakeEndpoint:
    """Returns the given responses in order and records the requests."""

    def __init__(self, *responses):
        self.responses, self.requests = list(responses), []

    def __call__(self, request):
        self.requests.append(request)
        return self.responses.pop(0)


class Clock:
    """The seconds since the first request, which pass while the client waits."""

    def __init__(self):
        self.now_s, self.waits = 0.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=lambda: fake.now_s))
    return fake


@pytest.fixture
def fake_client(clock):
    """Return a client of an endpoint that a function stands for; no time passes but the clock's."""

    def client_of(answer, url="http://fake", **options):
        client = Client(url, **options)
        client.http = httpx.Client(
            transport=httpx.MockTransport(answer), **client.endpoint.connection
        )
        client.retrying.sleep = clock.sleep
        return client

    return client_of


@pytest.fixture
def ask(fake_client):
    """Request the models from an endpoint with given responses."""

    def request_models(*responses, token=None):
        fake = FakeEndpoint(*responses)
        with fake_client(fake, token=token) as client:
            return client.models(), fake.requests

    return request_models


MODELS = httpx.Response(200, json={"version": "2-ab", "round": 2, "tasks": {}, "new_key": 1})


def test_a_request_is_retried_after_the_time_that_a_busy_endpoint_asks_for(ask, clock):
    busy = httpx.Response(503, headers={"retry-after": "7"}, json={"error": "busy"})
    models, (first, second) = ask(busy, MODELS)
    assert models.version == "2-ab"
    assert 7 <= clock.now_s < 17
    assert first.url == second.url == "http://fake/v1/models"


def test_a_port_that_refuses_connections_is_tried_for_a_minute(fake_client, clock):
    """Ray takes half a minute to start a proxy anew."""

    def proxy(request):
        if clock.now_s < 60:
            raise httpx.ConnectError("[Errno 111] Connection refused")
        return MODELS

    with fake_client(proxy) as client:
        assert client.models().version == "2-ab"
    assert sum(clock.waits[:4]) < 2  # what passes soon is not waited for
    assert max(clock.waits) <= 10


def test_an_unreachable_endpoint_is_an_error_after_a_minute(fake_client, clock):
    with (
        fake_client(lambda request: httpx.Response(502)) as client,
        pytest.raises(
            EndpointError,
            match=r"\d+ attempts within \d\d s: status 502: Bad Gateway; check the address",
        ),
    ):
        client.models()
    assert 60 <= clock.now_s < 70
    assert len(clock.waits) >= 7


def test_what_does_not_respond_is_said_once_until_it_answers_again(fake_client, clock, caplog):
    def proxy(request):
        if clock.now_s < 20 or 30 < clock.now_s < 50:
            raise httpx.ConnectError("[Errno 111] Connection refused")
        return MODELS

    with fake_client(proxy) as client:
        client.models()
        said = (
            "http://fake does not respond: [Errno 111] Connection refused; "
            "trying again for at least 60 s, and 8 times"
        )
        assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
            said
        ]
        clock.now_s = 31
        client.models()
    assert caplog.text.count(said) == 2


def test_a_moment_that_a_busy_endpoint_asks_for_is_not_said_and_half_a_minute_is(ask, caplog):
    ask(httpx.Response(503, headers={"retry-after": "7"}), MODELS)
    assert "does not respond" not in caplog.text
    unpublished = {"error": "no specialists are published"}
    ask(httpx.Response(503, headers={"retry-after": "30"}, json=unpublished), MODELS)
    assert "status 503: no specialists are published; trying again" in caplog.text


def test_the_client_for_asyncio_says_at_once_that_nobody_listens(clock, caplog):
    class Stopped(Exception):
        """Ends the client when it waits."""

    async def stop(seconds):
        raise Stopped

    async def ask_nobody():
        async with AsyncClient("http://127.0.0.1:1") as client:
            client.retrying.sleep = stop
            await client.models()

    with pytest.raises(Stopped):
        asyncio.run(ask_nobody())
    assert "http://127.0.0.1:1 does not respond: All connection attempts failed" in caplog.text


def test_the_error_names_what_to_check_where_nothing_listens(fake_client, caplog):
    def nobody(request):
        raise httpx.ConnectError("[Errno 111] Connection refused")

    check = "refused; check the address and the port, and that umc serve runs there"
    with fake_client(nobody) as client:
        for attempt in (1, 2):
            with pytest.raises(EndpointError, match=check):
                client.models()
            assert caplog.text.count("trying again") == attempt


def test_an_endpoint_that_asks_for_long_waits_has_all_attempts(ask, clock):
    busy = httpx.Response(503, headers={"retry-after": "30"})
    with pytest.raises(EndpointError, match="8 attempts"):
        ask(*[busy] * 8)
    assert clock.now_s >= 7 * 30


def test_an_address_that_is_none_is_an_error_at_once(clock):
    with Client("localhost:8000") as client:
        client.retrying.sleep = clock.sleep
        with pytest.raises(
            EndpointError,
            match=r"1 attempts within 0 s: .*protocol.*; check the address: it should be like http",
        ):
            client.models()


def test_a_refusal_is_an_error_at_once_with_its_reason(ask):
    with pytest.raises(EndpointError, match="401: a valid bearer token is required"):
        ask(httpx.Response(401, json={"error": "a valid bearer token is required"}))


def test_an_error_page_is_an_error(ask):
    with pytest.raises(EndpointError, match="404: Not Found"):
        ask(httpx.Response(404, text="<html>"))


def test_the_token_is_sent(ask):
    _, (request,) = ask(MODELS, token="secret")
    assert request.headers["authorization"] == "Bearer secret"


def embed_by_length(request):
    """Answer with the length of each text as its embedding."""
    texts = [each["text"] for each in json.loads(request.content)["samples"]]
    results = [SampleEmbedding(index=i, embedding=[len(text)]) for i, text in enumerate(texts)]
    found = EmbedResponse(encoder="ab", task="t", results=results, errors=[])
    return httpx.Response(200, content=found.model_dump_json())


def run_async(answer, samples, **options):
    async def ask():
        async with AsyncClient("http://fake", **options) as client:
            client.http = httpx.AsyncClient(
                transport=httpx.MockTransport(answer), **client.endpoint.connection
            )
            return [each async for each in client.embed(samples)]

    return asyncio.run(ask())


def test_a_sample_that_is_no_unicode_is_an_error_of_its_own(fake_client):
    texts = ["a", "b\ud800", "ccc", "\udc00", "\udc00", "ffffff"]
    samples = [Sample(id=text[0] if text < "z" else None, text=text) for text in texts]
    with fake_client(embed_by_length, batch=2) as client:
        found = list(client.embed(samples))
    assert [each.index for each in found] == list(range(6))
    assert [getattr(each, "embedding", None) for each in found] == [[1], None, [3], None, None, [6]]
    assert (found[1].id, found[1].error) == ("b", "no Unicode: half a surrogate pair")
    assert run_async(embed_by_length, samples, batch=2) == found


def test_a_request_is_json_with_what_was_asked_and_nothing_else(fake_client):
    requests = []

    def answer(request):
        requests.append(request)
        return httpx.Response(
            200, json={"version": "2-ab", "task": "t", "results": [], "errors": []}
        )

    samples = [Sample(text="é\n😀"), Sample(id="b", image="aGk=", group={"sex": "x"})]
    with fake_client(answer) as client:
        assert list(client.score(samples, domain="mood")) == []
    (request,) = requests
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {
        "samples": [
            {"text": "é\n😀"},
            {"id": "b", "image": "aGk=", "group": {"sex": "x"}},
        ],
        "task": None,
        "specialists": False,
        "columns": False,
        "domain": "mood",
    }


def test_each_sample_is_written_once(monkeypatch):
    written = []

    class Counted(Sample):
        @pydantic.model_serializer(mode="wrap")
        def _count(self, write):
            written.append(self.text)
            return write(self)

    monkeypatch.setattr("umc_ray.serving.client_batch.SAMPLE", pydantic.TypeAdapter(Counted))
    batch = Batch.of(enumerate(Counted(text=text) for text in "abc"), {"task": None})
    bodies = [batch.body, *(half.body for half in batch.halves("too large"))]
    assert [len(json.loads(each)["samples"]) for each in bodies] == [3, 1, 2]
    assert written == ["a", "b", "c"]


@pytest.mark.parametrize("token", ["s3cret\xe9", "s3cret\n", "s3 cret"])
def test_a_token_that_no_header_can_hold_is_refused_without_repeating_it(token):
    with pytest.raises(ConfigError, match="token has characters") as error:
        Client("http://fake", token=token)
    assert "s3" not in str(error.value)


def test_a_batch_that_is_too_large_is_split_down_to_one_sample(fake_client):
    """The endpoint takes three commas at a time."""
    sizes = []

    def answer(request):
        texts = [each["text"] for each in json.loads(request.content)["samples"]]
        sizes.append(len(texts))
        if sum(text.count(",") for text in texts) > 3:
            return httpx.Response(413, json={"error": "more than 3 commas"})
        return embed_by_length(request)

    texts = ["", ",", ",,", "\ud800", ",,,,", "", ",,,"]
    samples = [Sample(text=text) for text in texts]
    with fake_client(answer) as client:
        found = list(client.embed(samples))
    assert sizes == [6, 3, 3, 1, 2]
    assert [each.index for each in found] == list(range(7))
    lengths = [getattr(each, "embedding", None) for each in found]
    assert lengths == [[0], [1], [2], None, None, [0], [3]]
    assert found[3].error == "no Unicode: half a surrogate pair"
    assert found[4].error == "more than 3 commas"
    assert run_async(answer, samples) == found


@pytest.mark.ray
def test_samples_are_sent_in_batches_and_come_back_in_order(server):
    with Client(server.url, batch=2) as client:
        found = list(client.score(SAMPLES))
        version = client.models().version
    assert [(each.index, each.id) for each in found] == [(i, f"n{i}") for i in range(7)]
    labels = [getattr(each, "label", None) for each in found]
    assert labels == ["good", None, "bad", "good", "bad", None, None]
    assert {each.version for each in found if hasattr(each, "version")} == {version}


@pytest.mark.ray
def test_the_async_client_returns_the_same(server):
    async def ask():
        async with AsyncClient(server.url, batch=2) as client:
            scores = [each async for each in client.score(SAMPLES, specialists=True)]
            return scores, [each async for each in client.embed(SAMPLES)]

    scores, embeddings = asyncio.run(ask())
    with Client(server.url, batch=2) as client:
        same_scores = list(client.score(SAMPLES, specialists=True))
        same_embeddings = list(client.embed(SAMPLES))
    assert [dict(each) for each in embeddings] == [dict(each) for each in same_embeddings]
    for each, same in zip(scores, same_scores, strict=True):
        assert (type(each), each.index, each.id) == (type(same), same.index, same.id)
        # Other batches round differently.
        assert getattr(each, "entropy", 0) == pytest.approx(getattr(same, "entropy", 0), abs=1e-5)
        assert getattr(each, "specialists", {}).keys() == getattr(same, "specialists", {}).keys()
