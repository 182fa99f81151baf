"""Weights of samples for classes of different frequency.

Suffixes: N samples, C classes.
"""

import numpy as np
import numpy.typing as npt


def balanced(
    weights_N: npt.NDArray[np.float32], classes_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Scale weights so that all classes that occur weigh the same; their mean stays as it is.

    A class's factor is inversely proportional to the sum of its weights.
    """
    totals_C = np.bincount(classes_N, weights_N)
    share = totals_C.sum() / np.count_nonzero(totals_C)
    scaled_N: npt.NDArray[np.float32] = (weights_N * share / totals_C[classes_N]).astype(np.float32)
    return scaled_N
