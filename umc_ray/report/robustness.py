"""How robust the models of the last round are, as the report and the dataset card say it."""

from collections.abc import Iterator
from dataclasses import dataclass

from umc_ray.campaign.history import History
from umc_ray.report.pages import between, percent
from umc_ray.robustness.shifts import DomainRobustness, ShiftQuality
from umc_ray.tasks.quality import Estimate


@dataclass(frozen=True)
class RobustnessRow:
    """The quality on a shift or a corruption; `relative` is by the clean one."""

    domain: str
    kind: str
    quality: ShiftQuality
    relative: float | None


def robustness_rows(history: History) -> list[RobustnessRow]:
    """Return what was measured, by domain: clean samples, shifts, corruptions."""
    return [row for name, found in history.robustness.items() for row in _rows(name, found)]


def _rows(name: str, found: DomainRobustness) -> Iterator[RobustnessRow]:
    clean = found.clean.utility.value
    measured = [
        ("test", [found.clean]),
        ("shift", found.shifts),
        ("corruption", found.corruptions),
    ]
    for kind, qualities in measured:
        for each in qualities:
            relative = each.utility.value / clean if clean else None
            yield RobustnessRow(name, kind, each, relative)


def robustness_scores(history: History) -> dict[str, Estimate]:
    """Return the mean utility on shifts and corruptions by the clean one, by domain."""
    found = {name: each.score for name, each in history.robustness.items()}
    return {name: score for name, score in found.items() if score is not None}


def robustness_lines(history: History) -> list[str]:
    """Say for the dataset card how robust the models of the last round are."""
    lines = []
    for name, found in history.robustness.items():
        each = [_said(quality) for quality in (*found.shifts, *found.corruptions)]
        score = found.score
        kept = f"; {percent(score.value)} of it is kept ({between(score)})" if score else ""
        lines.append(f"{name}: {_said(found.clean)}{kept}. {'; '.join(each)}")
    return lines


def _said(quality: ShiftQuality) -> str:
    said = f"{quality.name} {percent(quality.utility.value)} ({between(quality.utility)})"
    return f"{said}, without {quality.left_out}" if quality.left_out else said
