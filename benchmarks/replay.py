"""Replay campaigns over recorded learning curves: the result of any split of the budget.

`benchmarks/data/curves.json` holds the state of each domain and seed after each number of labels
(see benchmarks/record_curves.py). The domains were learned separately, so any split can be
replayed. A policy sees the noisy evidence of one seed: the uncertainty of the pool, errors on
bought labels, and an accuracy estimated from the audit. It is evaluated with the mean accuracy over
the seeds in `truth`, so that the luck of one seed does not count.

Suffixes: A arms, P points of a curve, R rounds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext, BanditState, Reward, observe, shares, update

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RECORDED = Path(__file__).parent / "data" / "curves.json"
STEP = 10  # labels per step of the oracle
LABELS = 50  # per round and arm
FLOOR = 0.05


@dataclass(frozen=True)
class Curve:
    """The evidence of one seed about a domain, and the accuracy used for evaluation."""

    name: str
    pool: int
    labels_P: FloatArray
    accuracy_P: FloatArray
    uncertainty_P: FloatArray
    errors_P: FloatArray  # cumulative errors on bought labels, of the model before each block

    def at(self, values_P: FloatArray, labels: float) -> float:
        """Interpolate a quantity at a number of labels."""
        return float(np.interp(labels, self.labels_P, values_P))

    def remaining(self, labels: float) -> int:
        """Return the number of labels that are left in the recording."""
        return int(self.labels_P[-1] - labels)


Choose = Callable[[Sequence[Curve], FloatArray, int], IntArray]


@dataclass(frozen=True)
class Recording:
    """The recorded curves of all domains and seeds."""

    domains: Mapping[str, Any]
    blocks: Sequence[int]

    @classmethod
    def load(cls) -> "Recording":
        """Read the recorded file."""
        document = json.loads(RECORDED.read_text())
        return cls(document["domains"], document["blocks"])

    def names(self) -> list[str]:
        """Return the domains with meaningful labels."""
        return [name for name in self.domains if not name.startswith("junk/")]

    def curve(self, name: str, seed: int, truth: Sequence[int]) -> Curve:
        """Return the evidence of one seed with the mean accuracy of several."""
        runs = self.domains[name]["runs"]
        points = min(len(runs[each]["accuracy"]) for each in (seed, *truth))
        errors_P = np.add(runs[seed]["selected_errors"], runs[seed]["audited_errors"])[:points]
        return Curve(
            name=name,
            pool=self.domains[name]["pool"],
            labels_P=np.cumsum(self.blocks[:points]).astype(np.float64),
            accuracy_P=np.mean([runs[each]["accuracy"][:points] for each in truth], axis=0),
            uncertainty_P=np.array(runs[seed]["uncertainty"][:points]),
            errors_P=np.concatenate([[0.0], np.cumsum(errors_P)[:-1]]),
        )


@dataclass
class Bandit:
    """A bandit policy in a replay, called the way `BudgetAllocator` does."""

    policy: str
    objective: str
    seed: int

    def __post_init__(self) -> None:
        """Start with an empty state."""
        self.state = BanditState(seed=self.seed)
        self.rng = np.random.default_rng(self.seed)

    def __call__(self, curves: Sequence[Curve], labels_A: FloatArray, budget: int) -> IntArray:
        """Split a budget, then update the policy with the bought labels."""
        arms = [self._context(curve, n) for curve, n in zip(curves, labels_A, strict=True)]
        self.state = observe(self.state, arms)
        bought_A = allocate(
            shares(self.policy, self.state, arms, self.objective),
            budget,
            floor=FLOOR,
            remaining_A=[curve.remaining(n) for curve, n in zip(curves, labels_A, strict=True)],
        )
        both = zip(curves, labels_A, bought_A, strict=True)
        self.state = update(self.state, [_reward(curve, n, int(more)) for curve, n, more in both])
        return bought_A

    def _context(self, curve: Curve, labels: float) -> ArmContext:
        """Return what a campaign knows; a tenth of the labels are audits."""
        known = labels >= curve.labels_P[0]
        audits = max(round(0.1 * labels), 1)
        hits = self.rng.binomial(audits, curve.at(curve.accuracy_P, labels))
        return ArmContext(
            name=curve.name,
            uncertainty=curve.at(curve.uncertainty_P, labels) if known else None,
            remaining=int(curve.pool - labels),
            pool=curve.pool,
            cost=1.0,
            accuracy=hits / audits if known else None,
        )


def _reward(curve: Curve, labels: float, bought: int) -> Reward:
    """Return the errors on the labels that were bought after the first model."""
    first = max(labels, curve.labels_P[0])
    trials = max(int(labels + bought - first), 0)
    errors = curve.at(curve.errors_P, first + trials) - curve.at(curve.errors_P, first)
    return Reward(curve.name, errors=round(errors), trials=trials)


@dataclass(frozen=True)
class Oracle:
    """Spends each label where the known curves rise most."""

    objective: str

    def __call__(self, curves: Sequence[Curve], labels_A: FloatArray, budget: int) -> IntArray:
        """Split a budget greedily, on the concave hulls of the curves."""
        hulls = [_hull(curve) for curve in curves]
        bought_A = np.zeros(len(curves), dtype=np.int64)
        for _ in range(budget // STEP):
            after_A = labels_A + bought_A
            values = [
                self._value(curve, hull_P, n)
                for curve, hull_P, n in zip(curves, hulls, after_A, strict=True)
            ]
            bought_A[int(np.argmax(values))] += STEP
        return bought_A

    def _value(self, curve: Curve, hull_P: FloatArray, labels: float) -> float:
        if curve.remaining(labels) < STEP:
            return -2.0
        if self.objective == "worst":
            return -curve.at(curve.accuracy_P, labels)
        gain = curve.at(hull_P, labels + STEP) - curve.at(hull_P, labels)
        return gain * curve.pool if self.objective == "pooled" else gain


def _hull(curve: Curve) -> FloatArray:
    """Return the concave hull of a curve."""
    x, y = curve.labels_P, np.maximum.accumulate(curve.accuracy_P)
    corners = [0]
    for point in range(1, x.size):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[point] - x[a]) > (y[point] - y[a]) * (x[b] - x[a]):
                break
            corners.pop()
        corners.append(point)
    hull_P: FloatArray = np.interp(x, x[corners], y[corners])
    return hull_P


def uniform(curves: Sequence[Curve], labels_A: FloatArray, budget: int) -> IntArray:
    """Split a budget evenly."""
    remaining_A = [curve.remaining(n) for curve, n in zip(curves, labels_A, strict=True)]
    return allocate(np.ones(len(curves)), budget, floor=0.0, remaining_A=remaining_A)


def play(
    curves: Sequence[Curve], choose: Choose, rounds: int, joins: int | None = None
) -> list[FloatArray]:
    """Return the labels per arm before each round and at the end.

    All arms start with the first recorded labels. With `joins`, the last arm joins without labels
    before that round (counted from 1).
    """
    labels_A = np.array([curve.labels_P[0] for curve in curves])
    if joins is not None:
        labels_A[-1] = 0.0
    history = [labels_A]
    for number in range(1, rounds + 1):
        active = len(curves) - (joins is not None and number < joins)
        bought_A = np.zeros(len(curves))
        bought_A[:active] = choose(curves[:active], labels_A[:active], LABELS * len(curves))
        labels_A = labels_A + bought_A
        history.append(labels_A)
    return history


def score(curves: Sequence[Curve], labels_A: FloatArray, objective: str) -> float:
    """Return the accuracy under an objective."""
    both = zip(curves, labels_A, strict=True)
    accuracy_A = np.array([curve.at(curve.accuracy_P, n) for curve, n in both])
    if objective == "worst":
        return float(accuracy_A.min())
    weights = [curve.pool for curve in curves] if objective == "pooled" else None
    return float(np.average(accuracy_A, weights=weights))
