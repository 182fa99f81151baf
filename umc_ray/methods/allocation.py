"""Turn shares of a budget into whole labels per arm. Suffix: A arms."""

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def allocate(
    shares_A: npt.ArrayLike, budget: int, *, floor: float, remaining_A: npt.ArrayLike
) -> IntArray:
    """Give each arm a whole number of labels, close to its share of the budget.

    The labels add up to `min(budget, sum of remaining)`. An arm gets at least `floor` (in [0, 1])
    of the budget, rounded down, and at most what it has left; floors that add up to more than the
    budget shrink to equal parts. What an arm cannot take goes to the others by their shares.
    Ties go to the earlier arm. Costs enter through the shares (labels per unit of money are the
    policy's matter); the budget is counted in labels.
    Source: Hamilton's largest remainder method, with bounds.

    Raises:
        DataError: for negative shares, budgets or counts, or lengths that differ.
    """
    shares = np.asarray(shares_A, dtype=np.float64)
    high_A = np.asarray(remaining_A, dtype=np.int64)
    if shares.shape != high_A.shape or shares.ndim != 1:
        raise DataError(f"one count per share asked for, found {high_A.shape} for {shares.shape}")
    if budget < 0 or (shares < 0).any() or (high_A < 0).any() or not np.isfinite(shares).all():
        raise DataError(
            f"shares, counts and budget must be >= 0, found {shares}, {high_A}, {budget}"
        )
    if shares.size == 0:
        return np.zeros(0, dtype=np.int64)
    total = min(budget, int(high_A.sum()))
    least = int(min(floor, 1.0 / shares.size) * budget)
    return _round(_fill(shares, total, np.minimum(least, high_A), high_A), total, high_A)


def _fill(shares_A: FloatArray, total: int, low_A: IntArray, high_A: IntArray) -> FloatArray:
    """Scale the shares by one factor so that, clipped to their bounds, they add up to the total.

    The clipped sum is piecewise linear in the factor, with a knee where an arm meets a bound.
    """
    # an arm with share 0 still takes what no other arm can
    positive_A = shares_A / max(shares_A.max(), 1e-300) + 1e-9
    knees = np.sort(np.concatenate([[0.0], low_A / positive_A, high_A / positive_A]))
    sums = np.clip(knees[:, None] * positive_A, low_A, high_A).sum(axis=1)
    factor = np.interp(total, sums, knees)
    filled_A: FloatArray = np.clip(factor * positive_A, low_A, high_A)
    return filled_A


def _round(labels_A: FloatArray, total: int, high_A: IntArray) -> IntArray:
    """Round down, then give the missing labels to the largest remainders with room."""
    whole_A: IntArray = np.floor(labels_A + 1e-9).astype(np.int64)
    order = np.argsort(-(labels_A - whole_A), kind="stable")
    order = order[whole_A[order] < high_A[order]]
    whole_A[order[: total - int(whole_A.sum())]] += 1
    return whole_A
