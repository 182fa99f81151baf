"""One label per item from the votes of several people.

Suffixes: M votes, N items, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Consensus:
    """The items that got votes, in ascending order, and what the votes say.

    `agreement_N` is the share of the winning class, 0 to 1; `soft_NC` the share of every class.
    """

    item_N: npt.NDArray[np.int64]
    label_N: npt.NDArray[np.int64]
    agreement_N: npt.NDArray[np.float64]
    soft_NC: npt.NDArray[np.float64]


def majority(item_M: Ints, annotator_M: Ints, label_M: Ints, n_classes: int) -> Consensus:
    """Give each item the class with most votes; a tie goes to the smaller class number.

    One person has one vote per item: the last one given, in the order of the arrays.

    Raises:
        DataError: arrays of different length, or a label outside the classes.
    """
    if not len(item_M) == len(annotator_M) == len(label_M):
        raise DataError(
            f"votes need equal lengths, got {len(item_M)} items, {len(annotator_M)} annotators, "
            f"{len(label_M)} labels"
        )
    if len(label_M) and not (label_M.min() >= 0 and label_M.max() < n_classes):
        raise DataError(
            f"labels must be 0 to {n_classes - 1}, found {label_M.min()} to {label_M.max()}"
        )
    last_M = _last_votes(item_M, annotator_M)
    item_N, row_M = np.unique(item_M[last_M], return_inverse=True)
    counts_NC = np.zeros((len(item_N), n_classes))
    np.add.at(counts_NC, (row_M, label_M[last_M]), 1)
    soft_NC = counts_NC / counts_NC.sum(1, keepdims=True)
    return Consensus(item_N.astype(np.int64), soft_NC.argmax(1), soft_NC.max(1), soft_NC)


def _last_votes(item_M: Ints, annotator_M: Ints) -> npt.NDArray[np.intp]:
    """Rows of the last vote of each person on each item."""
    order_M = np.lexsort((annotator_M, item_M))  # stable: equal pairs stay in order of arrival
    changes = (np.diff(item_M[order_M]) != 0) | (np.diff(annotator_M[order_M]) != 0)
    return order_M[np.append(changes, True)] if len(order_M) else order_M
