"""Prometheus metrics of an endpoint, recorded by each replica.

Ray prefixes each name with `ray_`, and drops a gauge that was not set for 20 seconds.
"""

from functools import lru_cache
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

METRICS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "umc_serving_seconds": (
        Histogram,
        "seconds from the first byte of a request to its response",
        ("campaign", "path", "status"),
    ),
    "umc_serving_batch": (Histogram, "samples per batch", ("campaign", "task")),
    "umc_serving_samples": (Counter, "samples scored", ("campaign", "task", "route")),
    "umc_serving_waiting": (Gauge, "samples waiting for the model", ("campaign", "task")),
    "umc_serving_round": (Gauge, "round that is served", ("campaign",)),
    "umc_serving_drift": (
        Gauge,
        "population stability index of the margins of requests against the pool",
        ("campaign", "task"),
    ),
}
"""Kind, description and tags of each metric."""

BOUNDARIES = {
    "umc_serving_seconds": [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    "umc_serving_batch": [1, 2, 4, 8, 16, 32, 64, 128, 256],
}

PATHS = ("/v1/score", "/v1/embed", "/predict", "/webhook")
"""Paths with their own time series; all others share `other`."""


class ServingMetrics:
    """Records what a campaign's endpoint does."""

    def __init__(self, campaign: str) -> None:
        self.campaign = campaign

    def record_response(self, path: str, status: int, seconds: float) -> None:
        """Record the status and duration of a request."""
        series = next((each for each in PATHS if path.endswith(each)), "other")
        tags = {"campaign": self.campaign, "path": series, "status": str(status)}
        _metric("umc_serving_seconds").observe(seconds, tags)

    def record_batch(self, task: str, samples: int) -> None:
        """Record the size of a batch."""
        _metric("umc_serving_batch").observe(samples, {"campaign": self.campaign, "task": task})

    def count_route(self, task: str, route: str, samples: int) -> None:
        """Count scored samples by route."""
        if samples:
            tags = {"campaign": self.campaign, "task": task, "route": route}
            _metric("umc_serving_samples").inc(samples, tags)

    def set_load(self, task: str, waiting: int, drift: float | None) -> None:
        """Set the queue length and the drift of a task."""
        tags = {"campaign": self.campaign, "task": task}
        _metric("umc_serving_waiting").set(waiting, tags)
        if drift is not None:
            _metric("umc_serving_drift").set(drift, tags)

    def set_round(self, number: int) -> None:
        """Set the round that is served."""
        _metric("umc_serving_round").set(number, {"campaign": self.campaign})


@lru_cache
def _metric(name: str) -> Any:  # noqa: ANN401 - Ray's classes have no types
    kind, description, tags = METRICS[name]
    options = {"boundaries": BOUNDARIES[name]} if name in BOUNDARIES else {}
    return kind(name, description, tag_keys=tags, **options)
