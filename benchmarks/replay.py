"""A campaign over recorded learning curves: what a split of the budget would have given.

`benchmarks/data/curves.json` holds, for each domain and seed, what was seen after each number of
labels (see benchmarks/record_curves.py). The domains were learned apart, so any split can be
replayed. A policy sees the noisy evidence of one seed: the pool's uncertainty, errors on bought
labels, an accuracy estimated from the audit. It is judged by the mean accuracy over the seeds in
`truth`: one seed's luck is no policy's merit.

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
STEP = 10  # labels that the oracle gives at once
LABELS = 50  # of a round, per arm
FLOOR = 0.05


@dataclass(frozen=True)
class Curve:
    """One domain as one seed saw it, with the accuracy it is judged by."""

    name: str
    pool: int
    labels_P: FloatArray
    accuracy_P: FloatArray
    uncertainty_P: FloatArray
    errors_P: FloatArray  # labels bought until here that the model of their time got wrong

    def at(self, values_P: FloatArray, labels: float) -> float:
        """Interpolate a quantity at a number of labels."""
        return float(np.interp(labels, self.labels_P, values_P))

    def room(self, labels: float) -> int:
        """Count the labels that are left to buy in the recording."""
        return int(self.labels_P[-1] - labels)


Choose = Callable[[Sequence[Curve], FloatArray, int], IntArray]


@dataclass(frozen=True)
class Recording:
    """The recorded curves of all domains and seeds."""

    domains: Mapping[str, Any]
    blocks: Sequence[int]

    @classmethod
    def load(cls) -> "Recording":
        """Read the file."""
        document = json.loads(RECORDED.read_text())
        return cls(document["domains"], document["blocks"])

    def names(self) -> list[str]:
        """List the domains whose labels mean something."""
        return [name for name in self.domains if not name.startswith("junk/")]

    def curve(self, name: str, seed: int, truth: Sequence[int]) -> Curve:
        """Pick the evidence of one seed and the mean accuracy of several."""
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
    """A policy in a replay; calls it as `BudgetAllocator` does."""

    policy: str
    objective: str
    seed: int

    def __post_init__(self) -> None:
        """Start without memory."""
        self.state = BanditState(seed=self.seed)
        self.rng = np.random.default_rng(self.seed)

    def __call__(self, curves: Sequence[Curve], labels_A: FloatArray, budget: int) -> IntArray:
        """Split a budget, then learn from the labels it bought."""
        arms = [self._context(curve, n) for curve, n in zip(curves, labels_A, strict=True)]
        self.state = observe(self.state, arms)
        bought_A = allocate(
            shares(self.policy, self.state, arms, self.objective),
            budget,
            floor=FLOOR,
            remaining_A=[curve.room(n) for curve, n in zip(curves, labels_A, strict=True)],
        )
        both = zip(curves, labels_A, bought_A, strict=True)
        self.state = update(self.state, [_reward(curve, n, int(more)) for curve, n, more in both])
        return bought_A

    def _context(self, curve: Curve, labels: float) -> ArmContext:
        """Show what a campaign knows: a tenth of the labels are audits, which may be few."""
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
    """Count errors on the labels that were bought when there was a model."""
    first = max(labels, curve.labels_P[0])
    trials = max(int(labels + bought - first), 0)
    errors = curve.at(curve.errors_P, first + trials) - curve.at(curve.errors_P, first)
    return Reward(curve.name, errors=round(errors), trials=trials)


@dataclass(frozen=True)
class Oracle:
    """Gives label after label where the curves, known in advance, rise most."""

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
        if curve.room(labels) < STEP:
            return -2.0
        if self.objective == "worst":
            return -curve.at(curve.accuracy_P, labels)
        gain = curve.at(hull_P, labels + STEP) - curve.at(hull_P, labels)
        return gain * curve.pool if self.objective == "pooled" else gain


def _hull(curve: Curve) -> FloatArray:
    """Give the least concave rising curve above a curve."""
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
    rooms = [curve.room(n) for curve, n in zip(curves, labels_A, strict=True)]
    return allocate(np.ones(len(curves)), budget, floor=0.0, remaining_A=rooms)


def play(
    curves: Sequence[Curve], choose: Choose, rounds: int, joins: int | None = None
) -> list[FloatArray]:
    """Return the labels per arm before each round and at the end.

    All arms start with the first recorded labels; the last arm joins without any, before the
    round (counted from 1) that `joins` names.
    """
    labels_A = np.array([curve.labels_P[0] for curve in curves])
    if joins is not None:
        labels_A[-1] = 0.0
    history = [labels_A]
    for number in range(1, rounds + 1):
        there = len(curves) - (joins is not None and number < joins)
        bought_A = np.zeros(len(curves))
        bought_A[:there] = choose(curves[:there], labels_A[:there], LABELS * len(curves))
        labels_A = labels_A + bought_A
        history.append(labels_A)
    return history


def score(curves: Sequence[Curve], labels_A: FloatArray, objective: str) -> float:
    """Give the accuracy that an objective looks at."""
    both = zip(curves, labels_A, strict=True)
    accuracy_A = np.array([curve.at(curve.accuracy_P, n) for curve, n in both])
    if objective == "worst":
        return float(accuracy_A.min())
    weights = [curve.pool for curve in curves] if objective == "pooled" else None
    return float(np.average(accuracy_A, weights=weights))
