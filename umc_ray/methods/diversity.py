"""How much of a pool some samples cover, and how different they are from each other.

Suffixes: N points, L labeled points, D dimension, G groups.
"""

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import squared_distances
from umc_ray.methods.intervals import Z_95, mean_interval

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
ValueLowHigh = tuple[float, float, float]

NEIGHBORS = 5
GROUPS = 10
MAX_PAIRS = 2**30
"""Distances that are computed at most between points and labeled ones: 10 CPU seconds."""

_BLOCK = 1024


def coverage(x_ND: Floats, labeled_LD: Floats, *, seed: int = 0) -> ValueLowHigh:
    """Return the share of points that lie in the ball of a labeled point, with its interval.

    Of more than `MAX_PAIRS` / L points, that many random ones are counted: this has no bias, unlike
    a search in fewer dimensions or in the nearest clusters, and the interval holds its error.

    Raises:
        ValueError: there are no points.
    """
    if not len(x_ND):
        raise ValueError("no points")
    sample = max(1, MAX_PAIRS // max(1, len(labeled_LD)))
    if len(x_ND) > sample:
        x_ND = x_ND[np.random.default_rng(seed).choice(len(x_ND), sample, replace=False)]
    return mean_interval(covered(x_ND, labeled_LD))


def covered(
    x_ND: Floats, labeled_LD: Floats, neighbors: int = NEIGHBORS, device: str | None = None
) -> Bools:
    """Return which points lie in the ball of a labeled point.

    A ball reaches to the labeled point that is so many neighbors away, or to the farthest one if
    there are fewer. A single labeled point has no ball. A GPU is used if this process may; `device`
    names another one.

    Source: Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative
    Models (the recall of the labeled points).
    """
    from umc_ray.methods import balls  # torch takes a second to import

    if (device := device or balls.gpu()) is not None:
        return balls.covered(x_ND, labeled_LD, neighbors, device)
    squares_L = squared_radii(labeled_LD, neighbors)
    blocks = [
        (squared_distances(x_ND[start : start + _BLOCK], labeled_LD) <= squares_L).any(1)
        for start in range(0, len(x_ND), _BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.bool_)


def squared_radii(x_LD: Floats, neighbors: int = NEIGHBORS) -> Floats:
    """Return the squared radius of the ball of each point; below 0 for a single one."""
    rank = min(neighbors, len(x_LD) - 1)
    squares_L = np.full(len(x_LD), -1, np.float32)
    for start in range(0, len(x_LD) if rank else 0, _BLOCK):
        squares_BL = squared_distances(x_LD[start : start + _BLOCK], x_LD)
        # A point's distance to itself is 0 but for rounding.
        squares_BL[np.arange(len(squares_BL)), start + np.arange(len(squares_BL))] = -1
        squares_L[start : start + _BLOCK] = np.partition(squares_BL, rank, axis=1)[:, rank]
    return squares_L


def novelty(new_ND: Floats, old_LD: Floats) -> ValueLowHigh:
    """Return the share of new samples outside the balls of the old ones, with its interval.

    Raises:
        ValueError: there are no new samples.
    """
    share, low, high = coverage(new_ND, old_LD)
    return 1 - share, 1 - high, 1 - low


def vendi(x_ND: Floats) -> ValueLowHigh:
    """Return how many different points there are in effect, with a 95 % interval.

    1 if all have the same direction, N if all are at right angles to each other: the exponential of
    the entropy of the eigenvalues of their cosine similarities. The interval is that of a jackknife
    over groups of points.

    Source: Friedman and Dieng 2023, The Vendi Score: A Diversity Evaluation Metric for Machine
    Learning.

    Raises:
        ValueError: there are no points.
    """
    value = effective_number(x_ND)
    groups = [x_ND[start::GROUPS] for start in range(min(GROUPS, len(x_ND)))]
    products = [_product(group) for group in groups]
    total_DD = np.sum(products, axis=0)
    if len(groups) == 1:
        return value, value, value
    without_G = np.array(
        [
            _exp_entropy(total_DD - product_DD, len(x_ND) - len(group))
            for product_DD, group in zip(products, groups, strict=True)
        ]
    )
    share = (len(groups) - 1) / len(groups)
    error = Z_95 * float(np.sqrt(share * ((without_G - without_G.mean()) ** 2).sum()))
    return value, max(1.0, value - error), min(float(len(x_ND)), value + error)


def effective_number(x_ND: Floats) -> float:
    """Return the same number without an interval, which costs ten times as much.

    Raises:
        ValueError: there are no points.
    """
    if not len(x_ND):
        raise ValueError("no points")
    return _exp_entropy(_product(x_ND), len(x_ND))


def _product(x_ND: Floats) -> npt.NDArray[np.float64]:
    """Return the D x D products of points at unit length."""
    unit_ND = x_ND.astype(np.float64)
    unit_ND /= np.maximum(np.linalg.norm(unit_ND, axis=1, keepdims=True), 1e-12)
    product_DD: npt.NDArray[np.float64] = unit_ND.T @ unit_ND
    return product_DD


def _exp_entropy(product_DD: npt.NDArray[np.float64], n: int) -> float:
    """The covariance has the same eigenvalues above 0 as the N x N similarities, divided by N."""
    shares_D = np.linalg.eigvalsh(product_DD / n)
    shares_D = shares_D[shares_D > 1e-12]
    return float(np.exp(-(shares_D * np.log(shares_D)).sum()))
