"""How many labels an accuracy would take: the output of `umc plan`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.history import History
from umc_ray.errors import ConfigError
from umc_ray.methods.intervals import Z_95
from umc_ray.methods.learning_curve import (
    CONFIDENCE,
    MIN_POINTS,
    PowerLaws,
    Range,
    fit_power_laws,
)
from umc_ray.report.comparison import Kind, Metrics, Point, common_kind, macro_curve
from umc_ray.report.pages import number

FARTHEST = 10
"""Labels beyond this multiple of those so far are not told: a curve cannot tell them."""


@dataclass(frozen=True)
class Plan:
    """What the curve of a task, or of the whole campaign, says of a target."""

    name: str
    kind: Kind
    last: Point
    needed: Range | None  # labels in all; None: not told
    cost: float  # of a label
    note: str  # what the curve does not say

    @property
    def more(self) -> Range | None:
        """The labels that are missing."""
        if self.needed is None:
            return None
        spent = self.last.labels
        low, middle, high = self.needed.low, self.needed.middle, self.needed.high
        return Range(*(max(0.0, each - spent) for each in (low, middle, high)))


def plans(history: History, target: float) -> list[Plan]:
    """Return the plan for the whole campaign and, if it has several tasks, for each of them.

    Raises:
        ConfigError: the campaign measures no accuracy.
    """
    by_task: dict[str, list[str]] = {}
    for domain_key in history.domains:
        by_task.setdefault(domain_key.task, []).append(str(domain_key))
    everything = "all tasks" if len(by_task) > 1 else next(iter(by_task))
    found = [_plan(everything, history.metrics, history.names, target)]
    for task, names in by_task.items() if len(by_task) > 1 else ():
        found.append(_plan(task, _metrics_of(history.metrics, names), names, target))
    measured = [plan for plan in found if plan is not None]
    if not measured:
        raise ConfigError(
            f"{history.run.config.name} has measured no accuracy: name a test of a domain, or set "
            "budget.audit"
        )
    return measured


def _metrics_of(metrics: Metrics, names: Sequence[str]) -> list[RoundMetrics]:
    """Count labels and cost of some domains only."""
    parts = [[each.domains[name] for name in names if name in each.domains] for each in metrics]
    return [
        replace(each, labels=sum(d.labels for d in part), cost=sum(d.cost for d in part))
        for each, part in zip(metrics, parts, strict=True)
    ]


def _plan(name: str, metrics: Metrics, names: Sequence[str], target: float) -> Plan | None:
    """Return the plan of some domains; None if they are not measured."""
    kind, measured = common_kind(metrics, names)
    points = macro_curve(metrics, measured)
    if not points:
        return None
    laws = _laws(kind, points)
    needed, note = _needed(kind, points, laws, target)
    return Plan(name, kind, points[-1], needed, _cost(metrics), note)


def _laws(kind: Kind, points: Sequence[Point]) -> PowerLaws | None:
    """Fit a curve; what is asked is the accuracy on the held-out test, or on all of the pool."""
    estimates = [point.utility for point in points]
    return fit_power_laws(
        [point.labels for point in points],
        [each.value for each in estimates],
        [(each.high - each.low) / (2 * Z_95) if kind == "audit" else 0.0 for each in estimates],
    )


def _needed(
    kind: Kind, points: Sequence[Point], laws: PowerLaws | None, target: float
) -> tuple[Range | None, str]:
    """Return the labels in all, as far as the curve tells them, and what it does not tell."""
    if points[-1].utility.value >= target:
        return None, "reached"
    if len(points) < MIN_POINTS:
        return None, f"unknown: {len(points)} rounds are measured, it takes {MIN_POINTS}"
    if laws is None:
        return None, "unknown: the curve does not rise"
    needed, farthest = laws.labels_for(target), FARTHEST * points[-1].labels
    at_least = Range(needed.low, math.inf, math.inf) if needed.low <= farthest else None
    if kind == "audit":
        return at_least, "audits tell a lower bound at most; a held-out test would tell more"
    if math.isinf(needed.middle):
        limit = laws.limit()
        levels = f"{limit.middle:.1%} ({limit.low:.1%} to {limit.high:.1%})"
        return at_least, f"perhaps never: the curve levels off at {levels}"
    if needed.high > farthest:
        return at_least, f"it may take more than {FARTHEST} times the labels so far"
    return needed, ""


def _cost(metrics: Metrics) -> float:
    """Return what a label cost so far; labels that came with the sources cost nothing."""
    first, last = metrics[0], metrics[-1]
    if last.labels > first.labels:
        return (last.cost - first.cost) / (last.labels - first.labels)
    return last.cost / last.labels if last.labels else 0.0


def plan_table(found: Sequence[Plan], target: float) -> Table:
    """Return what is known so far and what the target takes."""
    title = f"labels and cost that {target:.1%} still takes, with {CONFIDENCE:.0%} intervals"
    table = Table(title=title, title_justify="left")
    for name in ("task", "on", "labels", "now", "more labels", "cost"):
        table.add_column(name, justify="left" if name in ("task", "on") else "right")
    for plan in found:
        now = plan.last.utility
        table.add_row(
            plan.name,
            plan.kind,
            number(plan.last.labels),
            f"{now.value:.3f} ({now.low:.2f}-{now.high:.2f})",
            _missing(plan.more, 1.0),
            _missing(plan.more, plan.cost),
        )
    return table


def plan_notes(found: Sequence[Plan]) -> list[str]:
    """Say what the curves do not tell."""
    return [f"{plan.name}: {plan.note}" for plan in found if plan.note]


def _missing(more: Range | None, unit: float) -> str:
    if more is None:
        return ""
    low, middle, high = (_short(unit * each) for each in (more.low, more.middle, more.high))
    if math.isinf(more.high):
        return f"at least {low}" if more.low else ""
    return f"{middle} ({low} to {high})"


def _short(value: float) -> str:
    """Format a count with two digits that count: nobody knows it better."""
    if value < 1 or math.isinf(value):
        return f"{value:.0f}"
    return f"{round(value, 1 - math.floor(math.log10(value))):,.0f}"
