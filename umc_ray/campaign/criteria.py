"""What a campaign has reached: coverage, the worst class, fairness, each in its worst domain.

The bounds of 95 % intervals: a criterion holds when chance does not explain that it seems to.
"""

from dataclasses import dataclass

from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.state import RunState

RECALL = "recall of "
"""How the figures of a test that are recalls of a class begin."""


@dataclass(frozen=True)
class Criteria:
    """What surely holds in all domains that measure it; None: none does."""

    coverage: float | None = None  # at least
    worst_recall: float | None = None  # at least
    equalized_odds: float | None = None  # at most


def criteria_after(run: RunState, rounds: int, metrics: RoundMetrics) -> Criteria:
    """Return what a campaign has reached after some rounds."""
    found = gaps_after(run, rounds).domains.values()
    coverages = [each.coverage.low for each in found if each.coverage is not None]
    tests = [each.test for each in metrics.domains.values() if each.test is not None]
    recalls = [
        estimate.low
        for test in tests
        for name, estimate in test.figures.items()
        if name.startswith(RECALL)
    ]
    fairness = run.fairness(rounds).get(rounds)
    compared = [] if fairness is None else [each.quality for each in fairness.domains.values()]
    odds = [
        each.equalized_odds.high
        for each in compared
        if each is not None and each.equalized_odds is not None
    ]
    return Criteria(
        coverage=min(coverages, default=None),
        worst_recall=min(recalls, default=None),
        equalized_odds=max(odds, default=None),
    )
