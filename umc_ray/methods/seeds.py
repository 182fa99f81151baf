"""Means and differences of runs that differ in their seed only, with 95 % intervals.

Suffix: M runs, each with a seed of its own. The intervals are Student's: seeds are few.
"""

from collections.abc import Sequence

import numpy as np

from umc_ray.errors import DataError

TAIL = 0.975

ValueLowHigh = tuple[float, float, float]


def mean_over_seeds(values_M: Sequence[float]) -> ValueLowHigh:
    """Return the mean of two or more runs.

    Raises:
        DataError: there are fewer.
    """
    return _interval(float(np.mean(values_M)), _deviation(values_M), 1 / len(values_M), values_M)


def paired_difference(run_M: Sequence[float], control_M: Sequence[float]) -> ValueLowHigh:
    """Return the mean of run - control, where pair m of both has the same seed.

    What the seed does to both cancels.

    Raises:
        DataError: there are fewer than two pairs, or the lengths differ.
    """
    if len(run_M) != len(control_M):
        raise DataError(f"need paired runs, got {len(run_M)} and {len(control_M)}")
    return mean_over_seeds(np.subtract(run_M, control_M).tolist())


def single_difference(run: float, control_M: Sequence[float]) -> ValueLowHigh:
    """Return run - mean of control, where a single run could have come out otherwise, too.

    Another seed is taken to change the run as much as it changes the control.

    Source: Crawford and Howell 1998, Comparing an individual's test score against norms derived
    from small samples.

    Raises:
        DataError: there are fewer than two controls.
    """
    difference = run - float(np.mean(control_M))
    return _interval(difference, _deviation(control_M), 1 + 1 / len(control_M), control_M)


def _deviation(values_M: Sequence[float]) -> float:
    if len(values_M) < 2:
        raise DataError(f"need at least two seeds to say how much they differ, got {len(values_M)}")
    return float(np.std(values_M, ddof=1))


def _interval(
    value: float, deviation: float, variances: float, values_M: Sequence[float]
) -> ValueLowHigh:
    """Return a value whose variance is that of so many single runs."""
    from scipy.special import stdtrit  # a moment that most processes are spared

    spread = float(stdtrit(len(values_M) - 1, TAIL)) * deviation * variances**0.5
    return value, value - spread, value + spread
