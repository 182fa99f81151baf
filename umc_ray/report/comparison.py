"""Learning curves of a run, and what they say beside the curves of a control.

Every point is an estimate with its 95 % interval; so is every difference of two points. What is
not comparable is left out and named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from umc_ray.campaign.evaluation import wilson_interval
from umc_ray.methods.savings import Curve, Saving, saving

Metrics = Sequence[Mapping[str, Any]]
"""The metrics of each round, oldest first."""

Kind = Literal["test", "audit"]


@dataclass(frozen=True)
class Estimate:
    """An accuracy, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """What was measured after a number of labels of the whole campaign."""

    labels: int
    accuracy: Estimate


@dataclass(frozen=True)
class Comparison:
    """A run beside its control, both after the same number of labels."""

    name: str
    kind: str  # what it was measured on: test, audit
    labels: float
    run: Estimate
    control: Estimate
    difference: Estimate
    target: float  # the highest accuracy that the control held for two rounds
    saving: Saving


def kind_of(metrics: Metrics, domain_key: str) -> Kind:
    """Tell whether a domain is measured on its held-out test or on its audit samples."""
    return "test" if metrics[-1]["domains"][domain_key]["test"] else "audit"


def domains(count: int) -> str:
    """Write a number of domains."""
    return "1 domain" if count == 1 else f"{count} domains"


def measured_alike(metrics: Metrics, domain_keys: Sequence[str]) -> tuple[Kind, list[str]]:
    """Return the domains whose mean is the accuracy: those with a test, or else with audits."""
    last = metrics[-1]["domains"]
    tested = [domain_key for domain_key in domain_keys if last[domain_key]["test"]]
    return (
        ("test", tested)
        if tested
        else ("audit", [domain_key for domain_key in domain_keys if last[domain_key]["audit"]])
    )


def domain_curve(metrics: Metrics, domain_key: str) -> list[Point]:
    """Return a domain's learning curve; rounds in which it was not measured are left out."""
    kind = kind_of(metrics, domain_key)

    def measured(each: Mapping[str, Any]) -> Estimate | None:
        found = each["domains"].get(domain_key, {}).get(kind)
        return estimate(found) if found else None

    return _curve(metrics, measured)


def macro_curve(metrics: Metrics, domain_keys: Sequence[str]) -> list[Point]:
    """Return the curve of the mean accuracy of some domains, where all of them are measured."""
    curves = [
        {point.labels: point.accuracy for point in domain_curve(metrics, domain_key)}
        for domain_key in domain_keys
    ]

    def measured(each: Mapping[str, Any]) -> Estimate | None:
        found = [curve[each["labels"]] for curve in curves if each["labels"] in curve]
        return mean(found) if domain_keys and len(found) == len(domain_keys) else None

    return _curve(metrics, measured)


def _curve(
    metrics: Metrics, measured: Callable[[Mapping[str, Any]], Estimate | None]
) -> list[Point]:
    """Measure each round; of rounds with equally many labels, because none came, the last."""
    found = {each["labels"]: estimate for each in metrics if (estimate := measured(each))}
    return [Point(labels, accuracy) for labels, accuracy in found.items()]


def estimate(found: Mapping[str, Any]) -> Estimate:
    """Give the accuracy of a domain's test or audit, as metrics.json holds it, its interval."""
    low, high = wilson_interval(round(found["accuracy"] * found["n"]), found["n"])
    return Estimate(found["accuracy"], low, high)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates."""
    return weighted_mean(estimates, [1] * len(estimates))


def weighted_mean(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """Return a weighted mean of independent estimates.

    Source: Zou and Donner 2008, Construction of confidence limits about effect measures.
    """
    w, total = np.array(weights), sum(weights)
    value = float(w @ [each.value for each in estimates] / total)
    below = np.hypot.reduce(w * [each.value - each.low for each in estimates]) / total
    above = np.hypot.reduce(w * [each.high - each.value for each in estimates]) / total
    return Estimate(value, value - float(below), value + float(above))


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return a - b of independent estimates; on one test set, the true interval is narrower.

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions.
    """
    value = a.value - b.value
    below = np.hypot(a.value - a.low, b.high - b.value)
    above = np.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, value - float(below), value + float(above))


def at_labels(curve: Sequence[Point], labels: float) -> Estimate:
    """Read a curve at a number of labels, between two rounds on the straight line."""
    x = [point.labels for point in curve]
    values = [
        np.interp(labels, x, [getattr(point.accuracy, name) for point in curve])
        for name in ("value", "low", "high")
    ]
    return Estimate(*(float(value) for value in values))


def compare(
    name: str, kind: str, run: Sequence[Point], control: Sequence[Point]
) -> Comparison | None:
    """Compare two curves as far as both go; None if one has no point where the other has."""
    if not run or not control:
        return None
    labels = min(run[-1].labels, control[-1].labels)
    if labels < max(run[0].labels, control[0].labels):
        return None
    ours, theirs = at_labels(run, labels), at_labels(control, labels)
    held = [min(a.accuracy.value, b.accuracy.value) for a, b in pairwise(control)]
    target = max(held, default=control[-1].accuracy.value)
    saved = saving(_plain(run), _plain(control), target)
    return Comparison(name, kind, labels, ours, theirs, difference(ours, theirs), target, saved)


def _plain(curve: Sequence[Point]) -> Curve:
    return Curve([point.labels for point in curve], [point.accuracy.value for point in curve])


def compare_all(metrics: Metrics, control: Metrics, comparable: Sequence[str]) -> list[Comparison]:
    """Compare the mean of all comparable domains that are measured alike, then each of them."""
    kind, domain_keys = measured_alike(metrics, comparable)
    curves = macro_curve(metrics, domain_keys), macro_curve(control, domain_keys)
    found = [compare(f"mean of {domains(len(domain_keys))}", kind, *curves)]
    found += [
        compare(
            domain_key,
            kind_of(metrics, domain_key),
            domain_curve(metrics, domain_key),
            domain_curve(control, domain_key),
        )
        for domain_key in comparable
    ]
    return [each for each in found if each]
