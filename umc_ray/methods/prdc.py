"""How well synthetic samples imitate real ones.

Suffixes: N real samples, M synthetic ones, D dimension, B samples of a block, S draws.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import squared_distances
from umc_ray.methods.diversity import NEIGHBORS, squared_radii
from umc_ray.methods.intervals import Z_95

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
ValueLowHigh = tuple[float, float, float]

DRAWS = 20
_BLOCK = 1024


@dataclass(frozen=True)
class Prdc:
    """Precision, recall, density and coverage, for so many samples of each side."""

    n: int
    precision: ValueLowHigh
    recall: ValueLowHigh
    density: ValueLowHigh
    coverage: ValueLowHigh


def prdc(real_ND: Floats, synthetic_MD: Floats, n: int, *, seed: int = 0) -> Prdc:
    """Compare n real with n synthetic samples; means and 95 % intervals of several draws.

    All four depend on n, so only values of the same n can be compared. Draws without replacement
    share samples, so they differ less than independent sets would: the intervals are widened for
    that.

    Source: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative Models;
    Politis and Romano 1994, Large Sample Confidence Regions Based on Subsamples.

    Raises:
        ValueError: one side has fewer than 2 n samples.
    """
    fewest = min(len(real_ND), len(synthetic_MD))
    if fewest < 2 * n:
        raise ValueError(f"prdc of {n} samples draws from twice as many, found {fewest}")
    rng = np.random.default_rng(seed)
    values_S4 = np.array(
        [
            prdc_once(
                real_ND[rng.permutation(len(real_ND))[:n]],
                synthetic_MD[rng.permutation(len(synthetic_MD))[:n]],
            )
            for _ in range(DRAWS)
        ]
    )
    error_4 = Z_95 * values_S4.std(axis=0, ddof=1) / np.sqrt(1 - n / fewest)
    means = values_S4.mean(axis=0)
    low_4, high_4 = np.maximum(means - error_4, 0), means + error_4
    high_4[[0, 1, 3]] = np.minimum(high_4[[0, 1, 3]], 1)  # density has no upper bound
    triples = np.stack([means, low_4, high_4], axis=1).tolist()
    return Prdc(n, *(tuple(each) for each in triples))


def prdc_once(
    real_ND: Floats, synthetic_MD: Floats, neighbors: int = NEIGHBORS, device: str | None = None
) -> tuple[float, float, float, float]:
    """Return precision, recall, density and coverage, in blocks of distances.

    A GPU is used if this process may; `device` names another one.
    """
    from umc_ray.methods import balls  # torch takes a second to import

    device = device or balls.gpu()
    count = _counted if device is None else partial(balls.precision_recall, device=device)
    n_balls_M, recalled_N, covered_N = count(real_ND, synthetic_MD, neighbors)
    density = float(n_balls_M.mean()) / neighbors
    return float((n_balls_M > 0).mean()), float(recalled_N.mean()), density, float(covered_N.mean())


def _counted(
    real_ND: Floats, synthetic_MD: Floats, neighbors: int
) -> tuple[npt.NDArray[np.int64], Bools, Bools]:
    """Return how many real balls hold each synthetic sample, and what `precision_recall` does."""
    real_squares_N = squared_radii(real_ND, neighbors)
    synthetic_squares_M = squared_radii(synthetic_MD, neighbors)
    n_balls_M = np.zeros(len(synthetic_MD), np.int64)
    recalled_N = np.zeros(len(real_ND), np.bool_)
    covered_N = np.zeros(len(real_ND), np.bool_)
    for start in range(0, len(real_ND), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squares_BM = squared_distances(real_ND[rows], synthetic_MD)
        inside_BM = squares_BM <= real_squares_N[rows, None]
        n_balls_M += inside_BM.sum(axis=0)
        covered_N[rows] = inside_BM.any(axis=1)
        recalled_N[rows] = (squares_BM <= synthetic_squares_M).any(axis=1)
    return n_balls_M, recalled_N, covered_N
