"""Learning curves of a run, and their comparison with those of control runs.

All points and differences are estimates with 95 % intervals. Those of single runs cover the
sampling error of the measurement; those of several runs cover the differences between seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from umc_ray.campaign.documents import DomainMetrics, RoundMetrics
from umc_ray.console import counted
from umc_ray.methods.savings import Curve, Saving, saving
from umc_ray.methods.seeds import mean_over_seeds, paired_difference, single_difference
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
        labels = of_round.answered
        estimates = [curve[labels] for curve in curves if labels in curve]
        return mean(estimates) if domain_keys and len(estimates) == len(domain_keys) else None

    return _curve(metrics, utility)


def _curve(metrics: Metrics, utility: Callable[[RoundMetrics], Estimate | None]) -> list[Point]:
    """Measure each round; of rounds with the same number of labels, keep the last."""
    by_labels = {each.answered: value for each in metrics if (value := utility(each))}
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


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Average the curves of several seeds where all have been measured; a single one stays."""
    if len(curves) == 1:
        return list(curves[0])
    if not all(curves):
        return []
    first = max(curve[0].labels for curve in curves)
    last = min(curve[-1].labels for curve in curves)
    grid = [point.labels for point in curves[0] if first <= point.labels <= last]
    return [
        Point(labels, Estimate(*mean_over_seeds(_values_at(curves, labels)))) for labels in grid
    ]


def _values_at(curves: Sequence[Sequence[Point]], labels: float) -> list[float]:
    return [at_labels(curve, labels).value for curve in curves]


def compare_seeds(
    name: str,
    kind: Kind,
    runs: Sequence[Sequence[Point]],
    controls: Sequence[Sequence[Point]],
) -> Comparison | None:
    """Compare the mean curves of runs and controls: one run, or one for each control's seed."""
    found = compare(name, kind, mean_curve(runs), mean_curve(controls))
    if found is None or len(controls) == 1:
        return found
    run_M, control_M = _values_at(runs, found.labels), _values_at(controls, found.labels)
    over_seeds = (
        single_difference(run_M[0], control_M)
        if len(run_M) == 1
        else paired_difference(run_M, control_M)
    )
    return replace(found, difference=Estimate(*over_seeds))


def compare_all(
    runs: Sequence[Metrics], controls: Sequence[Metrics], comparable: Sequence[str]
) -> list[Comparison]:
    """Compare the mean of the domains with a common kind, then each comparable domain."""
    kind, domain_keys = common_kind(runs[0], comparable)
    means = [[macro_curve(each, domain_keys) for each in group] for group in (runs, controls)]
    comparisons = [compare_seeds(f"mean of {counted(len(domain_keys), 'domain')}", kind, *means)]
    for domain_key in comparable:
        kind = kind_of(runs[0], domain_key)
        curves = [[domain_curve(each, domain_key) for each in group] for group in (runs, controls)]
        comparisons.append(compare_seeds(domain_key, kind, *curves))
    return [each for each in comparisons if each]
