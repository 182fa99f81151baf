"""Which samples are nearly the same as labeled ones, by the cosine of their embeddings.

Suffixes: N samples, L labeled ones, D embedding dimension, B rows of a block, M near-duplicates.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_BLOCK = 2**22  # cosines held at once: 16 MB

Embeddings = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Near:
    """M of N samples, the labeled one that each is nearest to, and their cosine."""

    rows_M: npt.NDArray[np.int64]
    nearest_M: npt.NDArray[np.int64]
    cosine_M: npt.NDArray[np.float32]


def near_duplicates(x_ND: Embeddings, labeled_LD: Embeddings, similarity: float) -> Near:
    """Find the samples whose cosine with a labeled one is at least `similarity`.

    Ties go to the first of the labeled ones. Embeddings that are zero or not finite resemble none.
    Holds a block of cosines and of samples at a time, beside the labeled ones as float32.
    """
    unit_LD = _unit(labeled_LD)
    step = max(1, _BLOCK // max(len(unit_LD), unit_LD.shape[1]))
    best_N, nearest_N = torch.zeros(len(x_ND)), torch.zeros(len(x_ND), dtype=torch.int64)
    for start in range(0, len(x_ND) if len(unit_LD) else 0, step):
        rows = slice(start, start + step)
        best_N[rows], nearest_N[rows] = (_unit(x_ND[rows]) @ unit_LD.T).max(dim=1)
    rows_M = torch.nonzero(best_N >= similarity)[:, 0]
    return Near(rows_M.numpy(), nearest_N[rows_M].numpy(), best_N[rows_M].numpy())


def repeats(x_ND: Embeddings, similarity: float) -> npt.NDArray[np.bool_]:
    """Return which samples are near-duplicates of an earlier one that is none itself."""
    unit_ND = _unit(x_ND)
    is_repeat_N = np.zeros(len(unit_ND), np.bool_)
    step = max(1, _BLOCK // max(1, len(unit_ND)))
    for start in range(0, len(unit_ND), step):
        near_BN = (unit_ND[start : start + step] @ unit_ND.T >= similarity).numpy()
        for row, near_N in enumerate(near_BN, start):
            is_repeat_N[row] = (near_N[:row] & ~is_repeat_N[:row]).any()
    return is_repeat_N


def _unit(x_ND: Embeddings) -> Tensor:
    """Scale to length one: float16 embeddings are so up to a thousandth only."""
    x = torch.from_numpy(np.require(x_ND, requirements="W")).float()
    return torch.nn.functional.normalize(torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0))
