"""Load shedding: model paths are refused while all models are overloaded."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests import tiny
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.settings import ServingConfig
from umc_ray.serving.shedding import MODEL_PATHS, Shedding, admission_checks


@pytest.fixture
def client():
    reached = [Route("/{rest:path}", lambda _: PlainTextResponse("reached"), methods=["POST"])]
    app = Starlette(routes=reached, middleware=[Middleware(Shedding)])
    return TestClient(app)


def test_a_process_without_an_endpoint_passes_everything_on(client):
    assert [client.post(path).text for path in MODEL_PATHS] == ["reached"] * 3


@pytest.fixture
def busy(tmp_path):
    """An endpoint of two tasks whose models take a second per sample."""
    both = tiny.campaign(tmp_path)
    (name, task), *_ = both["tasks"].items()
    both["tasks"] = {name: task, "other": task}
    path = tiny.write_campaign(tmp_path, both)
    endpoint = Endpoint(ServingConfig(campaign=path, batch_size=4, max_wait_s=0.5))
    admission_checks.append(endpoint.admit)
    yield endpoint
    admission_checks.clear()


def set_waiting(endpoint, *waiting):
    for batcher, samples in zip(endpoint.batchers.values(), waiting, strict=True):
        batcher.seconds, batcher.computed, batcher.waiting = 1.0, 1.0, samples


def test_requests_are_refused_once_all_tasks_are_overloaded(client, busy):
    set_waiting(busy, 30, 7)  # a batch has four
    assert client.post("/v1/score").text == "reached"
    set_waiting(busy, 30, 8)
    answer = client.post("/v1/score", content=b"never read")
    assert (answer.status_code, answer.json()["error"]) == (
        503,
        "overloaded: too many requests are waiting",
    )
    assert int(answer.headers["Retry-After"]) >= 8


def test_paths_without_a_model_are_never_refused(client, busy):
    set_waiting(busy, 30, 30)
    paths = ["/healthz", "/readyz", "/v1/models", "/webhook"]
    assert [client.post(path).text for path in paths] == ["reached"] * 4
    with pytest.raises(Refusal):
        busy.admit("/v1/score")
