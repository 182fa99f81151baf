"""Learning curves of a run, and their comparison with those of a control run.

All points and differences are estimates with 95 % intervals. Domains that are not comparable are
left out and named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from umc_ray.campaign.documents import DomainMetrics, RoundMetrics
from umc_ray.console import counted
from umc_ray.methods.savings import Curve, Saving, saving
from umc_ray.tasks.quality import Estimate

Metrics = Sequence[RoundMetrics]
"""The metrics of each round, oldest first."""

Kind = Literal["test", "audit"]
"""The samples that a utility, such as accuracy, is measured on."""


@dataclass(frozen=True)
class Point:
    """The mean utility after a number of labels of the whole campaign."""

    labels: int
    utility: Estimate


@dataclass(frozen=True)
class Comparison:
    """A run and its control after the same number of labels."""

    name: str
    kind: Kind
    labels: float
    run: Estimate
    control: Estimate
    difference: Estimate
    target: float  # the highest utility that the control held for two rounds
    saving: Saving


def kind_of(metrics: Metrics, domain_key: str) -> Kind:
    """Return what a domain is measured on: its held-out test, or without one, audit samples."""
    return "test" if metrics[-1].domains[domain_key].test else "audit"


def common_kind(metrics: Metrics, domain_keys: Sequence[str]) -> tuple[Kind, list[str]]:
    """Return the domains to average: those with a test, or if there are none, with audits."""
    last = metrics[-1].domains
    tested = [domain_key for domain_key in domain_keys if last[domain_key].test]
    if tested:
        return "test", tested
    return "audit", [domain_key for domain_key in domain_keys if last[domain_key].audit]


def domain_curve(metrics: Metrics, domain_key: str) -> list[Point]:
    """Return a domain's learning curve, without rounds in which it was not measured."""
    kind = kind_of(metrics, domain_key)

    def utility(of_round: RoundMetrics) -> Estimate | None:
        domain = of_round.domains.get(domain_key)
        return None if domain is None else utility_of(domain, kind)

    return _curve(metrics, utility)


def macro_curve(metrics: Metrics, domain_keys: Sequence[str]) -> list[Point]:
    """Return the mean utility of domains, for rounds in which all of them were measured."""
    curves = [
        {point.labels: point.utility for point in domain_curve(metrics, domain_key)}
        for domain_key in domain_keys
    ]

    def utility(of_round: RoundMetrics) -> Estimate | None:
        labels = of_round.labels
        estimates = [curve[labels] for curve in curves if labels in curve]
        return mean(estimates) if domain_keys and len(estimates) == len(domain_keys) else None

    return _curve(metrics, utility)


def _curve(metrics: Metrics, utility: Callable[[RoundMetrics], Estimate | None]) -> list[Point]:
    """Measure each round; of rounds with the same number of labels, keep the last."""
    by_labels = {each.labels: value for each in metrics if (value := utility(each))}
    return [Point(labels, value) for labels, value in by_labels.items()]


def utility_of(domain: DomainMetrics, kind: Kind) -> Estimate | None:
    """Return the mean utility of a domain on its test or its audit samples, if measured."""
    measured = domain.test if kind == "test" else domain.audit
    return None if measured is None else measured.utility


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates."""
    return weighted_mean(estimates, [1] * len(estimates))


def weighted_mean(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """Return the weighted mean of independent estimates.

    Source: Zou and Donner 2008, Construction of confidence limits about effect measures.
    """
    w, total = np.array(weights), sum(weights)
    value = float(w @ [each.value for each in estimates] / total)
    below = np.hypot.reduce(w * [each.value - each.low for each in estimates]) / total
    above = np.hypot.reduce(w * [each.high - each.value for each in estimates]) / total
    return Estimate(value, value - float(below), value + float(above))


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return a - b for independent estimates; the interval is conservative on a shared test set.

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions.
    """
    value = a.value - b.value
    below = np.hypot(a.value - a.low, b.high - b.value)
    above = np.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, value - float(below), value + float(above))


def at_labels(curve: Sequence[Point], labels: float) -> Estimate:
    """Interpolate a curve linearly at a number of labels."""
    x = [point.labels for point in curve]
    values = [
        np.interp(labels, x, [getattr(point.utility, name) for point in curve])
        for name in ("value", "low", "high")
    ]
    return Estimate(*(float(value) for value in values))


def compare(
    name: str, kind: Kind, run: Sequence[Point], control: Sequence[Point]
) -> Comparison | None:
    """Compare two curves at the last number of labels that both reach; None without overlap."""
    if not run or not control:
        return None
    labels = min(run[-1].labels, control[-1].labels)
    if labels < max(run[0].labels, control[0].labels):
        return None
    of_run, of_control = at_labels(run, labels), at_labels(control, labels)
    held = [min(a.utility.value, b.utility.value) for a, b in pairwise(control)]
    target = max(held, default=control[-1].utility.value)
    return Comparison(
        name=name,
        kind=kind,
        labels=labels,
        run=of_run,
        control=of_control,
        difference=difference(of_run, of_control),
        target=target,
        saving=saving(_values(run), _values(control), target),
    )


def _values(curve: Sequence[Point]) -> Curve:
    """Return a curve without its intervals."""
    return Curve([point.labels for point in curve], [point.utility.value for point in curve])


def compare_all(metrics: Metrics, control: Metrics, comparable: Sequence[str]) -> list[Comparison]:
    """Compare the mean of the domains with a common kind, then each comparable domain."""
    kind, domain_keys = common_kind(metrics, comparable)
    curves = macro_curve(metrics, domain_keys), macro_curve(control, domain_keys)
    comparisons = [compare(f"mean of {counted(len(domain_keys), 'domain')}", kind, *curves)]
    comparisons += [
        compare(
            domain_key,
            kind_of(metrics, domain_key),
            domain_curve(metrics, domain_key),
            domain_curve(control, domain_key),
        )
        for domain_key in comparable
    ]
    return [each for each in comparisons if each]
