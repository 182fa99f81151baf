"""The criteria of a campaign as the report shows them: what was reached after each round."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from umc_ray.campaign.criteria import Criteria, criteria_after
from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.history import History
from umc_ray.campaign.state import round_folder


@dataclass(frozen=True)
class Cell:
    """What was reached of a criterion; None: nothing measures it."""

    value: float | None
    reached: bool


@dataclass(frozen=True)
class CriteriaRow:
    """What was reached after a round, with so many labels."""

    round: int
    labels: int
    cells: tuple[Cell, ...]


def goals_of(history: History) -> tuple[float | None, ...]:
    """Return the goals in the order of the columns; empty if there are none."""
    rules = history.run.config.stop
    goals = astuple(Criteria(rules.coverage, rules.worst_recall, rules.equalized_odds))
    return () if goals == astuple(Criteria()) else goals


def criteria_rows(history: History) -> list[CriteriaRow]:
    """Return what was reached after each round, and at the start where labels were given."""
    goals = goals_of(history) or astuple(Criteria())
    rows = []
    for number in range(history.rounds + 1):
        key = f"{round_folder(number)}/metrics.json"
        if history.run.storage.exists(key):
            metrics = history.run.storage.read_record(key, RoundMetrics)
            reached = criteria_after(history.run, number, metrics)
            rows.append(CriteriaRow(number, metrics.labels, _cells(reached, goals)))
    return rows


def _cells(reached: Criteria, goals: Sequence[float | None]) -> tuple[Cell, ...]:
    lowest, (*_, odds) = (reached.coverage, reached.worst_recall), goals
    cells = [
        Cell(value, value is not None and goal is not None and value >= goal)
        for value, goal in zip(lowest, goals, strict=False)
    ]
    most = reached.equalized_odds
    return (*cells, Cell(most, most is not None and odds is not None and most <= odds))
