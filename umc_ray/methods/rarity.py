"""Where more of a rare class may be found: next to the samples of it that are known.

Suffixes: N candidates, D embedding dimension, L labeled samples, C classes that are rare.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from umc_ray.methods.coverage import Floats, Rows, squared_distances

UNANSWERED = -1
"""The answer where nobody could tell, or nobody has answered yet."""

RARE = 0.5
"""A class is rare that has fewer labels than this share of the mean of all that were seen."""

_BLOCK = 2**22  # distances held at once: 16 MB


def rare_classes(answers_L: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the classes that are rare among the answers, the rarest first; none of one class."""
    classes, counts = np.unique(answers_L[answers_L != UNANSWERED], return_counts=True)
    if len(classes) < 2:
        return classes[:0].astype(np.int64)
    order = np.lexsort((classes, counts))
    rare = counts[order] < RARE * counts.mean()
    rare[0] = counts.min() < counts.max()
    found: npt.NDArray[np.int64] = classes[order][rare].astype(np.int64)
    return found


def nearest_to_rare(x_ND: Floats, labeled_LD: Floats, answers_L: npt.NDArray[np.int64]) -> Rows:
    """Order candidates by how much closer they are to a rare class than to all others.

    Several rare classes take turns. Empty if no class is rare.

    Source: Coleman et al. 2022, Similarity Search for Efficient Active Learning and Search of Rare
    Concepts (neighbours of known samples first); without its index, as candidates are few.
    """
    known_L = answers_L != UNANSWERED
    labeled_LD, answers_L = labeled_LD[known_L], answers_L[known_L]
    classes = rare_classes(answers_L)
    if not len(classes):
        return np.empty(0, np.intp)
    blocks = np.array_split(x_ND, 1 + len(x_ND) * len(answers_L) // _BLOCK)
    share_CN = np.concatenate(
        [_shares(block_ND, labeled_LD, answers_L, classes) for block_ND in blocks], axis=1
    )
    return in_turns(list(np.argsort(share_CN, axis=1, kind="stable")))


def _shares(
    x_ND: Floats,
    labeled_LD: Floats,
    answers_L: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
) -> Floats:
    """Divide the distance to a class by the sum of that and the distance to all others."""
    squares_NL = squared_distances(x_ND, labeled_LD)
    shares = []
    for rare in classes:
        to_rare_N = squares_NL[:, answers_L == rare].min(1)
        to_others_N = squares_NL[:, answers_L != rare].min(1)
        shares.append(to_rare_N / np.maximum(to_rare_N + to_others_N, 1e-12))
    return np.stack(shares)


def in_turns(orders: Sequence[Rows]) -> Rows:
    """Take the first of each order, then the second of each, ..., and every row once."""
    rows = np.concatenate(orders)
    place = np.concatenate([np.arange(len(order)) for order in orders])
    turns = rows[np.argsort(place, kind="stable")]
    return turns[np.sort(np.unique(turns, return_index=True)[1])]
