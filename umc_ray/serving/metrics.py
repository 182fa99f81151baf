"""An endpoint's numbers for Prometheus, recorded by each replica.

Ray puts `ray_` before a name. It forgets a gauge that was not set for 20 seconds.
"""

from functools import lru_cache
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

METRICS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "umc_serving_seconds": (
        Histogram,
        "from the first byte of a request to its answer",
        ("campaign", "path", "status"),
    ),
    "umc_serving_batch": (Histogram, "samples that were computed at once", ("campaign", "task")),
    "umc_serving_samples": (Counter, "samples scored", ("campaign", "task", "route")),
    "umc_serving_waiting": (Gauge, "samples that wait for the model", ("campaign", "task")),
    "umc_serving_round": (Gauge, "round of the version that answers", ("campaign",)),
    "umc_serving_drift": (
        Gauge,
        "population stability index of requests' margins against the pool's",
        ("campaign", "task"),
    ),
}
"""Kind, description and tags of each metric."""

BOUNDARIES = {
    "umc_serving_seconds": [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    "umc_serving_batch": [1, 2, 4, 8, 16, 32, 64, 128, 256],
}

PATHS = ("/v1/score", "/v1/embed", "/predict", "/webhook")
"""Those that have a series of their own."""


class ServingMetrics:
    """Records what a campaign's endpoint does."""

    def __init__(self, campaign: str) -> None:
        self.campaign = campaign

    def request(self, path: str, status: int, seconds: float) -> None:
        """Record an answer."""
        named = next((each for each in PATHS if path.endswith(each)), "other")
        tags = {"campaign": self.campaign, "path": named, "status": str(status)}
        _metric("umc_serving_seconds").observe(seconds, tags)

    def batch(self, task: str, samples: int) -> None:
        """Record a batch that was computed."""
        _metric("umc_serving_batch").observe(samples, {"campaign": self.campaign, "task": task})

    def routed(self, task: str, route: str, samples: int) -> None:
        """Record how many samples of a request may stand, or need a person."""
        if samples:
            tags = {"campaign": self.campaign, "task": task, "route": route}
            _metric("umc_serving_samples").inc(samples, tags)

    def state(self, task: str, waiting: int, drift: float | None) -> None:
        """Record how a task's endpoint stands."""
        tags = {"campaign": self.campaign, "task": task}
        _metric("umc_serving_waiting").set(waiting, tags)
        if drift is not None:
            _metric("umc_serving_drift").set(drift, tags)

    def answers(self, number: int) -> None:
        """Record which round answers."""
        _metric("umc_serving_round").set(number, {"campaign": self.campaign})


@lru_cache
def _metric(name: str) -> Any:  # noqa: ANN401 - Ray's classes have no types
    kind, description, tags = METRICS[name]
    more = {"boundaries": BOUNDARIES[name]} if name in BOUNDARIES else {}
    return kind(name, description, tag_keys=tags, **more)
