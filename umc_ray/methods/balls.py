"""The balls of points on a GPU: what diversity.py and prdc.py count, up to the rounding of sums.

Suffixes: N and M points, L labeled points, D dimension, B points of a block.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_BLOCK = 4096


def gpu() -> str | None:
    """Return the device to compute on if this process may use a GPU; None: numpy is as fast."""
    return "cuda" if torch.cuda.is_available() else None


def covered(x_ND: Floats, labeled_LD: Floats, neighbors: int, device: str) -> Bools:
    """Return which points lie in the ball of a labeled point."""
    points_ND, centers_LD = (_moved(each, device) for each in (x_ND, labeled_LD))
    squares_L = squared_radii(centers_LD, neighbors)
    found = [
        (squares_BL <= squares_L).any(1) for _, squares_BL in _distances(points_ND, centers_LD)
    ]
    inside_N = torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)
    return cast(Bools, inside_N.cpu().numpy())


def squared_radii(x_LD: Tensor, neighbors: int) -> Tensor:
    """Return the squared radius of the ball of each point; below 0 for a single one."""
    rank = min(neighbors, len(x_LD) - 1)
    if rank < 1:
        return torch.full((len(x_LD),), -1.0, device=x_LD.device)
    found = []
    for rows, squares_BL in _distances(x_LD, x_LD):
        own_B = torch.arange(len(squares_BL), device=x_LD.device)
        squares_BL[own_B, rows.start + own_B] = -1  # 0 but for rounding
        found.append(squares_BL.kthvalue(rank + 1, dim=1).values)
    return torch.cat(found)


def precision_recall(
    real_ND: Floats, synthetic_MD: Floats, neighbors: int, device: str
) -> tuple[npt.NDArray[np.int64], Bools, Bools]:
    """Return how many real balls hold each of M synthetic points; and which of N are recalled.

    Returns:
        Counts M; which real points lie in a synthetic ball; and which have one in their own ball.
    """
    real, synthetic = (_moved(each, device) for each in (real_ND, synthetic_MD))
    real_N, synthetic_M = squared_radii(real, neighbors), squared_radii(synthetic, neighbors)
    balls_M = torch.zeros(len(synthetic), dtype=torch.int64, device=device)
    recalled, own = [], []
    for rows, squares_BM in _distances(real, synthetic):
        inside_BM = squares_BM <= real_N[rows, None]
        balls_M += inside_BM.sum(0)
        own.append(inside_BM.any(1))
        recalled.append((squares_BM <= synthetic_M).any(1))
    counts = cast(npt.NDArray[np.int64], balls_M.cpu().numpy())
    inside = [cast(Bools, torch.cat(each).cpu().numpy()) for each in (recalled, own)]
    return counts, inside[0], inside[1]


def _moved(x_ND: Floats, device: str) -> Tensor:
    return torch.from_numpy(np.require(x_ND, np.float32, ["C", "W"])).to(device)


def _distances(a_ND: Tensor, b_MD: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows and their squared distances BM."""
    norms_M = (b_MD**2).sum(1)
    for start in range(0, len(a_ND), _BLOCK):
        rows_BD = a_ND[start : start + _BLOCK]
        squares_BM = norms_M + (rows_BD**2).sum(1)[:, None] - 2 * rows_BD @ b_MD.T
        yield slice(start, start + len(rows_BD)), squares_BM.clamp_min(0)
