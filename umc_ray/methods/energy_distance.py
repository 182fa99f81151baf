"""How different two sets of points are. Suffixes: N and M points, D dimension."""

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import squared_distances

Floats = npt.NDArray[np.float32]

_BLOCK = 1024


def energy_distance(x_ND: Floats, y_MD: Floats) -> float:
    """Return the squared energy distance; 0 if both sets are the same.

    Twice the mean distance between the sets, less the mean distances within them.

    Source: Szekely and Rizzo 2013, Energy statistics: A class of statistics based on distances.

    Raises:
        ValueError: one of the sets is empty.
    """
    if not len(x_ND) or not len(y_MD):
        raise ValueError(f"need two sets of points, found {len(x_ND)} and {len(y_MD)}")
    within = _mean_distance(x_ND, x_ND) + _mean_distance(y_MD, y_MD)
    return max(0.0, 2 * _mean_distance(x_ND, y_MD) - within)


def _mean_distance(x_ND: Floats, y_MD: Floats) -> float:
    total = 0.0
    for start in range(0, len(x_ND), _BLOCK):
        squares_BM = squared_distances(x_ND[start : start + _BLOCK], y_MD)
        total += float(np.sqrt(squares_BM).sum(dtype=np.float64))
    return total / (len(x_ND) * len(y_MD))
