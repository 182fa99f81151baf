"""How evenly samples are spread over classes, domains, groups or clusters.

Suffixes: N samples, G groups, B bootstrap replicates.
"""

import numpy as np
import numpy.typing as npt

from umc_ray.methods.intervals import REPLICATES, TAILS


def balance(groups_N: npt.NDArray[np.integer], n_groups: int) -> tuple[float, float, float]:
    """Return the entropy of the group sizes by its maximum, 0..1, with a 95 % interval.

    1 if all groups are equally large, 0 if all samples are in one group. Of clusters, it is the
    entropy of their occupancy. A few samples look less even than what they are drawn from: the
    factor by which draws miss more is estimated and taken out.

    Args:
        groups_N: numbers of groups, from 0.
        n_groups: two or more, with those that are empty.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap (bias correction, here as a
    factor, and basic interval).

    Raises:
        ValueError: there are no samples, or fewer than two groups.
    """
    n = len(groups_N)
    if not n or n_groups < 2:
        raise ValueError(f"need samples of two groups or more, found {n} of {n_groups}")
    shares_G = np.bincount(groups_N, minlength=n_groups) / n
    value = float(_entropy(shares_G[None])[0])
    drawn_B = _entropy(np.random.default_rng(0).multinomial(n, shares_G, size=REPLICATES) / n)
    low, high = np.quantile(drawn_B, TAILS)
    # What draws lose is taken as a factor of what is missing: groups that are not quite even never
    # become so.
    missing, lost = 1 - value, float(1 - drawn_B.mean())
    corrected = 1 - missing**2 / lost if lost > 0 else value
    # Samples that are even by chance may come from groups that are not: mirrored at their own
    # value, no replicate would say so.
    ends = corrected, min(low, 2 * value - high), max(2 * value - low, corrected)
    value, least, most = (min(max(float(each), 0.0), 1.0) for each in ends)
    return value, min(least, value), most


def _entropy(shares_BG: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the entropies of rows of shares, by the largest possible one."""
    logs_BG = np.log(np.where(shares_BG > 0, shares_BG, 1))
    entropy_B: npt.NDArray[np.float64] = (shares_BG * -logs_BG).sum(1) / np.log(shares_BG.shape[1])
    return entropy_B
