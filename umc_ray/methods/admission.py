"""Which synthetic samples people validate, and what their answers say of those that they did not.

The acceptance rate of a group is estimated from samples that were drawn at random: those that are
validated because they are ambiguous are wrong more often.

Suffixes: N samples.
"""

import numpy as np
import numpy.typing as npt

from umc_ray.methods.intervals import wilson_interval

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def drawn_prefix(numbers_N: Floats, answered_N: Bools) -> Bools:
    """Return the longest prefix of the order of random numbers that was answered.

    It is a uniform sample whatever else was answered: the order does not depend on the samples.
    """
    order = np.argsort(numbers_N, kind="stable")
    prefix_N = np.zeros(len(order), dtype=np.bool_)
    prefix_N[order] = np.logical_and.accumulate(answered_N[order])
    return prefix_N


def admits(accepted: int, drawn: int, rate: float) -> bool:
    """Whether a share is at least `rate` for sure: by the lower end of its 95 % interval."""
    return drawn > 0 and wilson_interval(accepted, drawn)[0] >= rate


def spread(groups_N: Ints, numbers_N: Floats, n: int) -> Ints:
    """Return n rows, as many of each group, in each group those of the least random numbers."""
    order = np.lexsort((numbers_N, groups_N))
    starts = np.searchsorted(groups_N[order], groups_N[order])
    ranks_N = np.arange(len(order)) - starts
    by_rank = np.lexsort((numbers_N[order], ranks_N))
    rows: Ints = order[by_rank][:n]
    return rows


def most_ambiguous(probability_N: Floats, numbers_N: Floats, n: int) -> Ints:
    """Return n rows whose probability is nearest to an even chance; where it is unknown, at random.

    What is not known (NaN) is as ambiguous as can be.
    """
    distance_N = np.nan_to_num(np.abs(probability_N - 0.5), nan=0.0)
    rows: Ints = np.lexsort((numbers_N, distance_N))[:n]
    return rows
