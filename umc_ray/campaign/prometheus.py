"""A campaign's metrics for Prometheus: each node of a Ray cluster exports what processes record.

Ray adds the prefix `ray_` to names and the suffix `_total` to those of counters. It drops what is
recorded while it is not running, so a run without Ray needs no other code. It forgets a gauge that
was not set for 20 seconds, so a run repeats the values that still hold.
"""

import time
from functools import lru_cache
from typing import Any

from ray.util.metrics import Counter, Gauge

from umc_ray.campaign.documents import RoundMetrics
from umc_ray.cluster.stream import OnRows
from umc_ray.records import DomainKey
from umc_ray.specialists.specialist import Epoch

METRICS: dict[str, tuple[type[Counter] | type[Gauge], str, tuple[str, ...]]] = {
    "umc_rows": (Counter, "rows that a stage has worked through", ("campaign", "stage")),
    "umc_rows_per_second": (Gauge, "speed of a stage since it began", ("campaign", "stage")),
    "umc_stage_seconds": (Gauge, "how long a stage took the last time", ("campaign", "stage")),
    "umc_quarantined_rows": (Gauge, "rows of a source set apart as bad", ("campaign", "domain")),
    "umc_labels": (Gauge, "labels bought so far", ("campaign", "domain")),
    "umc_cost": (Gauge, "budget spent so far, in the campaign's unit", ("campaign", "domain")),
    "umc_accuracy": (
        Gauge,
        "mean utility of predictions, 0 to 1: accuracy for classification",
        ("campaign", "domain", "measured_on"),
    ),
    "umc_training_epochs": (
        Gauge,
        "epochs of a fine-tuned specialist so far, those of its cross-validation included",
        ("campaign", "task", "specialist"),
    ),
    "umc_training_loss": (
        Gauge,
        "mean training loss of its last epoch",
        ("campaign", "task", "specialist"),
    ),
    "umc_training_samples_per_second": (
        Gauge,
        "speed of its last epoch",
        ("campaign", "task", "specialist"),
    ),
    "umc_round": (Gauge, "last finished round: the version of the specialists", ("campaign",)),
}
"""Kind, description and tags of each metric."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a metric and its tags."""


class RunMetrics:
    """Follows a run as a `Watch` does, and records its rounds."""

    def __init__(self, campaign: str) -> None:
        self.campaign = campaign
        self._gauges: dict[Series, float] = {}

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Hear that a stage begins; returns what is called with each number of rows done."""
        name, began, done = _tag(stage), time.monotonic(), 0

        def on_rows(more: int) -> None:
            nonlocal done
            if more:
                done += more
                _metric("umc_rows").inc(more, {"campaign": self.campaign, "stage": name})
                speed = done / max(time.monotonic() - began, 1e-9)
                self._set("umc_rows_per_second", speed, stage=name)

        return on_rows

    def end(self, stage: str, seconds: float) -> None:
        """Hear that a stage is done: it has a duration now, and no longer a speed."""
        self._gauges.pop(self._series("umc_rows_per_second", stage=_tag(stage)), None)
        self._set("umc_stage_seconds", seconds, stage=_tag(stage))

    def quarantined(self, domain_key: DomainKey, rows: int) -> None:
        """Record how many rows of a domain's sources are bad."""
        self._set("umc_quarantined_rows", rows, domain=str(domain_key))

    def epoch(self, task: str, specialist: str, number: int, epoch: Epoch) -> None:
        """Record an epoch of a fine-tuned specialist, with how many there were so far."""
        who = {"task": task, "specialist": specialist}
        self._set("umc_training_epochs", number, **who)
        self._set("umc_training_loss", epoch.loss, **who)
        self._set("umc_training_samples_per_second", epoch.samples_per_s, **who)

    def round(self, number: int, metrics: RoundMetrics) -> None:
        """Record the results of a finished round, as in its metrics.json."""
        for name, domain in metrics.domains.items():
            self._set("umc_labels", domain.labels, domain=name)
            self._set("umc_cost", domain.cost, domain=name)
            for measured_on, quality in (("audit", domain.audit), ("test", domain.test)):
                if quality is not None:
                    value = quality.utility.value
                    self._set("umc_accuracy", value, domain=name, measured_on=measured_on)
        self._set("umc_round", number)

    def repeat(self) -> None:
        """Record all that still holds once more."""
        for (name, tags), value in self._gauges.copy().items():  # a copy: stages set meanwhile
            _metric(name).set(value, dict(tags))

    def _set(self, name: str, value: float, **tags: str) -> None:
        series = self._series(name, **tags)
        self._gauges[series] = value
        _metric(name).set(value, dict(series[1]))

    def _series(self, name: str, **tags: str) -> Series:
        return name, tuple({"campaign": self.campaign, **tags}.items())


@lru_cache
def _metric(name: str) -> Any:  # noqa: ANN401 - Ray's classes have no types
    kind, description, tags = METRICS[name]
    return kind(name, description, tags)


def _tag(stage: str) -> str:
    """Name a kind of stage: neither round nor domain, or there is a new series for each."""
    return stage.split()[0].rsplit("/", 1)[-1]
