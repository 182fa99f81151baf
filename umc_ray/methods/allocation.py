"""Turn shares of a budget into a whole number of labels per arm. Suffix: A arms."""

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def allocate(
    shares_A: npt.ArrayLike, budget: int, *, floor: float, remaining_A: npt.ArrayLike
) -> IntArray:
    """Return a whole number of labels for each arm, close to its share of the budget.

    The labels add up to `min(budget, sum of remaining)`. An arm gets at least the fraction `floor`
    (in [0, 1]) of the budget, rounded down, and at most its remaining samples. If the floors add
    up to more than the budget, they shrink to equal parts. What an arm cannot take goes to the
    other arms in proportion to their shares; ties go to the earlier arm. The budget is counted in
    labels; costs are already part of the shares.
    Source: Hamilton's largest remainder method, with bounds.

    Raises:
        DataError: a share, budget or count is negative, or the lengths differ.
    """
    shares = np.asarray(shares_A, dtype=np.float64)
    high_A = np.asarray(remaining_A, dtype=np.int64)
    if shares.shape != high_A.shape or shares.ndim != 1:
        raise DataError(f"need one count per share, got shapes {high_A.shape} and {shares.shape}")
    if budget < 0 or (shares < 0).any() or (high_A < 0).any() or not np.isfinite(shares).all():
        raise DataError(f"shares, counts and budget must be >= 0, got {shares}, {high_A}, {budget}")
    if shares.size == 0:
        return np.zeros(0, dtype=np.int64)
    total = min(budget, int(high_A.sum()))
    low_A = np.minimum(int(min(floor, 1.0 / shares.size) * budget), high_A)
    return _round_to_total(_scale_to_total(shares, total, low_A, high_A), total, high_A)


def _scale_to_total(
    shares_A: FloatArray, total: int, low_A: IntArray, high_A: IntArray
) -> FloatArray:
    """Scale all shares by one factor so that they add up to the total once clipped to the bounds.

    The clipped sum is piecewise linear in the factor, with a knee where an arm reaches a bound.
    """
    # an arm with share 0 still takes labels that no other arm can take
    positive_A = shares_A / max(shares_A.max(), 1e-300) + 1e-9
    knees = np.sort(np.concatenate([[0.0], low_A / positive_A, high_A / positive_A]))
    sums = np.clip(knees[:, None] * positive_A, low_A, high_A).sum(axis=1)
    factor = np.interp(total, sums, knees)
    labels_A: FloatArray = np.clip(factor * positive_A, low_A, high_A)
    return labels_A


def _round_to_total(labels_A: FloatArray, total: int, high_A: IntArray) -> IntArray:
    """Round down, then give the missing labels to the largest remainders below their bound."""
    whole_A: IntArray = np.floor(labels_A + 1e-9).astype(np.int64)
    order = np.argsort(-(labels_A - whole_A), kind="stable")
    order = order[whole_A[order] < high_A[order]]
    whole_A[order[: total - int(whole_A.sum())]] += 1
    return whole_A
