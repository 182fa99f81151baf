"""Compare learning curves with a control: labels saved, area under the curve, intervals.

Suffixes: R rounds (points of one curve), M seeds (paired runs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Accuracy in [0, 1] at increasing numbers of labels."""

    labels_R: Sequence[float]
    accuracy_R: Sequence[float]


@dataclass(frozen=True)
class Saving:
    """The labels needed to reach a target accuracy, for the method and the control.

    `share` is the saved share of the control's labels (negative if the method needed more); None
    unless both curves reach the target. `reached` is whether the method's curve does.
    """

    labels: float | None
    control_labels: float | None
    share: float | None
    reached: bool


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    mean: float
    low: float
    high: float


def labels_to_reach(
    labels_R: Sequence[float], accuracy_R: Sequence[float], target: float
) -> float | None:
    """Return the number of labels at which the accuracy reaches the target for two rounds.

    A single round above the target does not count, so the last round alone never does. The curve
    is interpolated linearly up to the first of the two rounds. None if the target is not reached.

    Raises:
        DataError: the curve is empty or uneven, or its labels do not increase.
    """
    labels, accuracy = _curve(labels_R, accuracy_R)
    above = accuracy >= target
    reached = np.flatnonzero(above[:-1] & above[1:])
    if reached.size == 0:
        return None
    first = int(reached[0])
    if first == 0:
        return float(labels[0])
    step = (target - accuracy[first - 1]) / (accuracy[first] - accuracy[first - 1])
    return float(labels[first - 1] + np.clip(step, 0.0, 1.0) * (labels[first] - labels[first - 1]))


def saving(curve: Curve, control: Curve, target: float | None = None) -> Saving:
    """Compare the labels that a curve and its control need to reach the same accuracy.

    The default target is the highest accuracy that the control holds for two rounds.
    """
    _, accuracy = _curve(control.labels_R, control.accuracy_R)
    if target is None:
        target = float(np.minimum(accuracy[:-1], accuracy[1:]).max(initial=accuracy.min()))
    labels = labels_to_reach(curve.labels_R, curve.accuracy_R, target)
    control_labels = labels_to_reach(control.labels_R, control.accuracy_R, target)
    share = None
    if labels is not None and control_labels:
        share = 1.0 - labels / control_labels
    return Saving(labels, control_labels, share, labels is not None)


def aulc(
    labels_R: Sequence[float],
    accuracy_R: Sequence[float],
    start: float | None = None,
    stop: float | None = None,
) -> float:
    """Return the area under the learning curve per label, between `start` and `stop` labels.

    The default range is the whole curve; set both bounds to compare curves of different lengths.

    Raises:
        DataError: the curve is uneven, its labels do not increase, or the range is outside it.
    """
    labels, accuracy = _curve(labels_R, accuracy_R)
    first = labels[0] if start is None else start
    last = labels[-1] if stop is None else stop
    if not labels[0] <= first <= last <= labels[-1]:
        raise DataError(
            f"no area from {first} to {last} labels: the curve covers {labels[[0, -1]]}"
        )
    if first == last:
        return float(np.interp(first, labels, accuracy))
    inside = (labels > first) & (labels < last)
    x = np.concatenate([[first], labels[inside], [last]])
    return float(np.trapezoid(np.interp(x, labels, accuracy), x) / (last - first))


def paired_interval(
    method_M: Sequence[float],
    control_M: Sequence[float],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean difference of paired runs with a bootstrap confidence interval.

    Pair m of both sequences has the same seed. Whole pairs are resampled, so effects of the seed on
    both cancel.
    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife (percentile interval).

    Raises:
        DataError: there are no pairs, or the lengths differ.
    """
    if len(method_M) != len(control_M) or len(method_M) == 0:
        raise DataError(f"need paired runs, got {len(method_M)} and {len(control_M)}")
    differences = np.asarray(method_M, dtype=np.float64) - np.asarray(control_M, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = rng.choice(differences, size=(draws, differences.size)).mean(axis=1)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(differences.mean()), float(low), float(high))


def _curve(labels_R: Sequence[float], accuracy_R: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Return a curve as arrays after checking it."""
    labels = np.asarray(labels_R, dtype=np.float64)
    accuracy = np.asarray(accuracy_R, dtype=np.float64)
    if labels.shape != accuracy.shape or labels.ndim != 1 or labels.size == 0:
        raise DataError(
            f"need one accuracy per round, got shapes {accuracy.shape} and {labels.shape}"
        )
    if (np.diff(labels) <= 0).any():
        raise DataError(f"labels must increase along a curve, got {labels.tolist()}")
    return labels, accuracy
