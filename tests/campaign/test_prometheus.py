import pytest
import ray

from tests.prometheus import exported
from umc_ray.campaign import prometheus as metrics
from umc_ray.campaign.documents import Audit, DomainMetrics, RoundMetrics
from umc_ray.campaign.prometheus import METRICS, RunMetrics
from umc_ray.methods.calibration import Reliability
from umc_ray.records import DomainKey
from umc_ray.specialists.specialist import Epoch
from umc_ray.tasks.quality import Estimate, Quality

TEST = Quality(
    n=8, utility=Estimate(0.5, 0.2, 0.8), ece=0.1, reliability=Reliability([0.5], [0.5], [8])
)
POSTS = DomainMetrics(
    labels=12,
    cost=30.5,
    uncertainty=None,
    audit=Audit(4, Estimate(0.75, 0.3, 0.95)),
    test=TEST,
    selection_test=None,
)
NEWS = DomainMetrics(labels=0, cost=0, uncertainty=None, audit=None, test=None, selection_test=None)
METRICS_OF_ROUND = RoundMetrics(
    labels=12,
    cost=30.5,
    domains={"mood/posts": POSTS, "mood/news": NEWS},
    audit_utility=0.75,
    test_utility=0.5,
)


def record(run_metrics):
    on_rows = run_metrics.begin("rounds/0002/scores", 100)
    on_rows(60)
    on_rows(0)
    on_rows(40)
    run_metrics.end("rounds/0002/scores", 2.5)
    run_metrics.begin("ingest mood/posts", None)(7)
    run_metrics.end("ingest mood/posts", 0.25)
    run_metrics.quarantined(DomainKey("mood", "posts"), 3)
    run_metrics.epoch("mood", "tuned", 7, Epoch(2, 0, 0.375, 20, 12.5))
    run_metrics.round(2, METRICS_OF_ROUND)


@pytest.mark.ray
def test_prometheus_finds_all_that_is_recorded(ray_cluster):
    record(RunMetrics("recorded"))
    expected = {
        ("ray_umc_rows_total", "scores"): 100,
        ("ray_umc_rows_total", "ingest"): 7,
        ("ray_umc_stage_seconds", "scores"): 2.5,
        ("ray_umc_stage_seconds", "ingest"): 0.25,
        ("ray_umc_quarantined_rows", "mood/posts"): 3,
        ("ray_umc_labels", "mood/posts"): 12,
        ("ray_umc_labels", "mood/news"): 0,
        ("ray_umc_cost", "mood/posts"): 30.5,
        ("ray_umc_cost", "mood/news"): 0,
        ("ray_umc_accuracy", "mood/posts", "audit"): 0.75,
        ("ray_umc_accuracy", "mood/posts", "test"): 0.5,
        ("ray_umc_training_epochs", "mood", "tuned"): 7,
        ("ray_umc_training_loss", "mood", "tuned"): 0.375,
        ("ray_umc_training_samples_per_second", "mood", "tuned"): 12.5,
        ("ray_umc_round",): 2,
    }
    found = exported("recorded", lambda found: expected.items() <= found.items())
    speeds = {key: found.pop(key) for key in list(found) if key[0] == "ray_umc_rows_per_second"}
    assert found == expected
    assert {key[1] for key in speeds} == {"scores", "ingest"}
    assert min(speeds.values()) > 0


def test_a_run_without_ray_records_nothing_and_starts_none():
    is_up = ray.is_initialized()
    record(RunMetrics("alone"))
    assert ray.is_initialized() == is_up


def test_no_metric_has_a_series_per_round_or_sample():
    tags = {tag for _, _, tags in METRICS.values() for tag in tags}
    assert tags == {"campaign", "stage", "domain", "measured_on", "task", "specialist"}


class Notebook:
    """Stands in for Ray's gauges and counters."""

    def __init__(self):
        self.lines = []

    def metric(self, name):
        self.name = name
        return self

    def set(self, value, tags):
        self.lines.append((self.name, *tags.values(), value))

    def inc(self, value, tags):
        self.lines.append((self.name, *tags.values(), value))


def test_what_still_holds_is_repeated_and_the_speed_of_what_is_over_is_not(monkeypatch):
    notebook = Notebook()
    monkeypatch.setattr(metrics, "_metric", notebook.metric)
    mine = RunMetrics("mine")
    mine.begin("encode", None)(5)
    record(mine)
    mine.quarantined(DomainKey("mood", "posts"), 4)
    notebook.lines.clear()
    mine.repeat()
    mine.repeat()
    once = set(notebook.lines)
    assert len(notebook.lines) == 2 * len(once)
    assert ("umc_quarantined_rows", "mine", "mood/posts", 4) in once
    assert ("umc_accuracy", "mine", "mood/posts", "audit", 0.75) in once
    assert ("umc_round", "mine", 2) in once
    assert ("umc_training_loss", "mine", "mood", "tuned", 0.375) in once
    assert [line[2] for line in once if line[0] == "umc_rows_per_second"] == ["encode"]
    assert not [line for line in once if line[0] == "umc_rows"]
