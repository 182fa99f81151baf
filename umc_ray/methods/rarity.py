"""Find candidates that may belong to rare classes: those close to known samples of them.

Suffixes: N candidates, D embedding dimension, L labeled samples, C rare classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import Floats, Rows, squared_distances

UNANSWERED = -1
"""The answer of a sample that nobody has answered, or that nobody could."""

RARE_SHARE = 0.5
"""A class is rare if it has fewer labels than this share of the mean over all seen classes."""

_BLOCK = 2**22  # distances per block: 16 MB


def rare_classes(answers_L: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rare classes, rarest first; with a single seen class, none is rare."""
    classes, counts = np.unique(answers_L[answers_L != UNANSWERED], return_counts=True)
    if len(classes) < 2:
        return classes[:0].astype(np.int64)
    order = np.lexsort((classes, counts))
    rare = counts[order] < RARE_SHARE * counts.mean()
    rare[0] = counts.min() < counts.max()
    rarest_first: npt.NDArray[np.int64] = classes[order][rare].astype(np.int64)
    return rarest_first


def lacking(counts: Mapping[str, int]) -> dict[str, float]:
    """Return how many labels each rare class lacks until it is none any more, if any are rare.

    `counts` has all classes, also those without labels.
    """
    enough = RARE_SHARE * sum(counts.values()) / max(1, len(counts))
    return {label: enough - n for label, n in counts.items() if n < enough}


def nearest_to_rare(x_ND: Floats, labeled_LD: Floats, answers_L: npt.NDArray[np.int64]) -> Rows:
    """Order candidates by how much closer they are to a rare class than to all others.

    Several rare classes take turns. The order is empty if no class is rare.

    Source: Coleman et al. 2022, Similarity Search for Efficient Active Learning and Search of Rare
    Concepts (neighbors of known samples first). Its index is not needed for so few candidates.
    """
    known_L = answers_L != UNANSWERED
    labeled_LD, answers_L = labeled_LD[known_L], answers_L[known_L]
    classes = rare_classes(answers_L)
    if not len(classes):
        return np.empty(0, np.intp)
    blocks = np.array_split(x_ND, 1 + len(x_ND) * len(answers_L) // _BLOCK)
    distance_CN = np.concatenate(
        [_relative_distances(block_ND, labeled_LD, answers_L, classes) for block_ND in blocks],
        axis=1,
    )
    return interleave(list(np.argsort(distance_CN, axis=1, kind="stable")))


def _relative_distances(
    x_ND: Floats,
    labeled_LD: Floats,
    answers_L: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
) -> Floats:
    """Return the distance to each rare class / (that + the distance to the other classes)."""
    squares_NL = squared_distances(x_ND, labeled_LD)
    distances = []
    for rare in classes:
        to_rare_N = squares_NL[:, answers_L == rare].min(1)
        to_others_N = squares_NL[:, answers_L != rare].min(1)
        distances.append(to_rare_N / np.maximum(to_rare_N + to_others_N, 1e-12))
    return np.stack(distances)


def interleave(orders: Sequence[Rows]) -> Rows:
    """Return the first row of each order, then the second of each, and so on; each row once."""
    rows = np.concatenate(orders)
    rank = np.concatenate([np.arange(len(order)) for order in orders])
    rows = rows[np.argsort(rank, kind="stable")]
    return rows[np.sort(np.unique(rows, return_index=True)[1])]
