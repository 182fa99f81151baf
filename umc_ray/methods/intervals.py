"""95 % intervals of shares and of means. Suffixes: N samples, B bootstrap replicates."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Z_95 = 1.96
REPLICATES = 1000
TAILS = (0.025, 0.975)


def wilson_interval(right: float, n: int) -> tuple[float, float]:
    """Return the interval of a share of n; of a mean of n values in 0..1, it is a wide one.

    No such values vary more than those that are 0 or 1.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    share, z2 = right / n, Z_95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    spread = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, float(center - spread)), min(1.0, float(center + spread))


def mean_interval(values_N: npt.NDArray[np.generic]) -> tuple[float, float, float]:
    """Return the mean of values in 0..1 with its interval: Wilson's where all are 0 or 1."""
    values_N = values_N.astype(np.float64)
    right, n = float(values_N.sum()), len(values_N)
    if np.isin(values_N, (0, 1)).all():
        return right / n, *wilson_interval(int(right), n)
    return bootstrap_interval(n, lambda rows_N: float(values_N[rows_N].mean()))


def bootstrap_interval(
    n: int, statistic: Callable[[npt.NDArray[np.int64]], float]
) -> tuple[float, float, float]:
    """Return a statistic of n samples, given as a function of rows, with its interval.

    The same samples always give the same interval.

    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife (percentile interval).
    """
    rng = np.random.default_rng(0)
    found_B = [statistic(rng.integers(n, size=n)) for _ in range(REPLICATES)]
    low, high = np.quantile(found_B, TAILS)
    value = statistic(np.arange(n))
    return value, float(min(low, value)), float(max(high, value))
