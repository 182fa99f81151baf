"""The metrics that an endpoint records."""

import pytest
from starlette.testclient import TestClient

from umc_ray.serving import metrics
from umc_ray.serving.app import create_app
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.metrics import METRICS
from umc_ray.serving.settings import ServingConfig


class FakeMetrics:
    """Records calls instead of Ray's metrics."""

    def __init__(self):
        self.lines = []

    def metric(self, name):
        def write(value, tags):
            assert set(tags) == set(METRICS[name][2])
            self.lines.append((name, *[tags[each] for each in METRICS[name][2][1:]], value))

        self.set = self.inc = self.observe = write
        return self


@pytest.mark.ray
def test_requests_batches_routes_and_load_are_recorded(campaign, monkeypatch):
    fake = FakeMetrics()
    monkeypatch.setattr(metrics, "_metric", fake.metric)
    endpoint = Endpoint(ServingConfig(campaign=campaign.path, poll_s=1000))
    with TestClient(
        create_app(endpoint), base_url="http://localhost", client=("127.0.0.1", 1)
    ) as client:
        fake.lines.clear()
        body = {"samples": [{"text": "good"}, {"text": "sad"}, {"text": ""}]}
        assert client.post("/v1/score", json=body).status_code == 200
        assert client.post("/v1/score", json={}).status_code == 422
        assert client.get("/nothing").status_code == 404
        found = list(fake.lines)
        endpoint.refresh()
    counted = [line for line in found if line[0] != "umc_serving_seconds"]
    assert counted == [
        ("umc_serving_batch", "mood", 2),
        ("umc_serving_samples", "mood", "human", 2),
    ]
    answers = [line for line in found if line[0] == "umc_serving_seconds"]
    assert [line[1:3] for line in answers] == [
        ("/v1/score", "200"),
        ("/v1/score", "422"),
        ("other", "404"),
    ]
    assert all(0 < line[3] < 60 for line in answers)
    assert ("umc_serving_waiting", "mood", 0) in fake.lines
    assert ("umc_serving_round", 2) in fake.lines


def test_no_metric_has_a_series_per_sample_or_version():
    tags = {tag for _, _, tags in METRICS.values() for tag in tags}
    assert tags == {"campaign", "path", "status", "task", "route"}
