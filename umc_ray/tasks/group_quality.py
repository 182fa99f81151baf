"""How good predictions are for each group of samples, and how far groups differ.

Suffixes: N samples, C classes or labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.methods.fairness import (
    Difference,
    Outcomes,
    accuracy_gap,
    calibration_error,
    demographic_parity,
    equalized_odds,
)
from umc_ray.methods.intersections import Groups, groupings, intersect
from umc_ray.methods.intervals import mean_interval
from umc_ray.records import FloatArray
from umc_ray.tasks.quality import Estimate
from umc_ray.tasks.task import TaskKind

Attributes = Mapping[str, npt.NDArray[np.str_]]
"""By attribute, such as sex, the group of each of N samples."""


MOST_SAMPLES = 20_000
"""That are compared: resampling takes seconds for more, and their noise is small."""


@dataclass(frozen=True)
class GroupQuality:
    """What predictions are worth for a group of n samples."""

    name: str
    n: int
    utility: Estimate
    calibration_error: Estimate


@dataclass(frozen=True)
class GroupComparison:
    """Groups by an attribute or by several, such as sex × race, of n samples.

    The figures are None where fewer than two groups have enough samples, or where a kind of task
    has no classes.
    """

    by: str
    n: int
    groups: list[GroupQuality]
    merged: int  # samples of small groups that count together as other
    left_out: int  # samples of small groups that are too few even together
    utility_gap: Difference | None
    demographic_parity: Difference | None
    equalized_odds: Difference | None


@dataclass(frozen=True)
class Predicted:
    """Predictions of N samples that were not learned from, with what is true."""

    kind: TaskKind
    predicted_N: Sequence[str]
    targets_N: Sequence[str]
    certainty_N: FloatArray  # probability that a prediction is right

    def compare(self, attributes: Attributes, smallest: int) -> list[GroupComparison]:
        """Compare the groups by each attribute, and the intersections."""
        some, values = self._drawn(list(attributes.values()))
        return [
            some._compare(by, intersect([values[place] for place in places], smallest))
            for by, places in groupings(list(attributes)).items()
        ]

    def _drawn(
        self, values: list[npt.NDArray[np.str_]]
    ) -> tuple["Predicted", list[npt.NDArray[np.str_]]]:
        """Draw the samples that are compared, if there are many."""
        n = len(self.targets_N)
        if n <= MOST_SAMPLES:
            return self, values
        rows = np.sort(np.random.default_rng(0).permutation(n)[:MOST_SAMPLES])
        predicted_N, targets_N = (
            [texts[row] for row in rows] for texts in (self.predicted_N, self.targets_N)
        )
        some = Predicted(self.kind, predicted_N, targets_N, self.certainty_N[rows])
        return some, [each[rows] for each in values]

    def _compare(self, by: str, groups: Groups) -> GroupComparison:
        utility_N = self.kind.utility(self.predicted_N, self.targets_N)
        outcomes = self._outcomes(groups)
        return GroupComparison(
            by=by,
            n=len(utility_N),
            groups=[
                self._quality(name, utility_N, groups.codes_N == code)
                for code, name in enumerate(groups.names)
            ],
            merged=groups.merged,
            left_out=groups.left_out,
            utility_gap=accuracy_gap(groups.codes_N, utility_N),
            demographic_parity=None if outcomes is None else demographic_parity(outcomes),
            equalized_odds=None if outcomes is None else equalized_odds(outcomes),
        )

    def _quality(
        self, name: str, utility_N: FloatArray, own_N: npt.NDArray[np.bool_]
    ) -> GroupQuality:
        own, certainty_N = utility_N[own_N], np.asarray(self.certainty_N)[own_N]
        error = calibration_error(certainty_N, own >= self.kind.right_from)
        return GroupQuality(name, int(own_N.sum()), Estimate(*mean_interval(own)), Estimate(*error))

    def _outcomes(self, groups: Groups) -> Outcomes | None:
        """Return what is true and predicted by class; None: the kind has no classes."""
        if not self.kind.labels:
            return None
        return Outcomes(
            groups_N=groups.codes_N,
            truth_NC=self._by_class(self.targets_N),
            predicted_NC=self._by_class(self.predicted_N),
            strata_N=self.kind.strata(self.targets_N),
        )

    def _by_class(self, texts_N: Sequence[str]) -> npt.NDArray[np.bool_]:
        targets = self.kind.encode(texts_N)
        if targets.ndim == 1:
            return np.eye(len(self.kind.labels), dtype=np.bool_)[targets]
        return np.asarray(targets) > 0
