"""How much of a model's utility is left where samples differ from those that it learned from.

Suffixes: N clean samples, M samples of a shift, K corruptions of the clean samples, B bootstrap
replicates.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from umc_ray.methods.intervals import REPLICATES, TAILS

Floats = npt.NDArray[np.floating]
ValueLowHigh = tuple[float, float, float]


def robustness_score(
    clean_N: Floats, corrupted_KN: Sequence[Floats], shifted: Sequence[Floats]
) -> ValueLowHigh | None:
    """Return the mean utility under corruptions and shifts by the clean one, with a 95 % interval.

    Corruptions are of the clean samples, so they are drawn again with these; samples of shifts are
    others. None if nothing was measured, or if the clean utility is 0.

    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife (percentile interval);
    Taori et al. 2020, Measuring Robustness to Natural Distribution Shifts in Image Classification
    (performance under shift beside the clean one).
    """
    if not (len(corrupted_KN) or len(shifted)) or not len(clean_N) or not clean_N.mean():
        return None
    rng = np.random.default_rng(0)
    weights_BN = _weights(rng, len(clean_N))
    means = [weights_BN @ each_N for each_N in corrupted_KN]
    means += [_weights(rng, len(each_M)) @ each_M for each_M in shifted]
    found_B = np.mean(means, axis=0) / np.maximum(weights_BN @ clean_N, 1e-9)
    value = float(np.mean([each.mean() for each in (*corrupted_KN, *shifted)]) / clean_N.mean())
    low, high = np.quantile(found_B, TAILS)
    return value, float(min(low, value)), float(max(high, value))


def _weights(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Return what each of n samples counts for in each replicate; rows sum to 1."""
    drawn_BN: npt.NDArray[np.int64] = rng.multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    return drawn_BN / n
