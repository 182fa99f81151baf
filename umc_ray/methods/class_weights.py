"""Weights of samples for classes of different frequency, and for classes by group.

Suffixes: N samples, C classes, G groups.
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


def reweighed(
    weights_N: npt.NDArray[np.float32],
    groups_N: npt.NDArray[np.int64],
    classes_N: npt.NDArray[np.int64],
    exponent: float,
) -> npt.NDArray[np.float32]:
    """Scale weights so that no class is more frequent in one group than in another.

    The factor of a group's samples of a class is how many there would be if classes did not depend
    on groups, divided by how many there are. An exponent from 0 to 1 weakens it: factors of small
    groups are large, and each rests on few samples. The mean stays as it is.

    Source: Kamiran and Calders 2012, Data preprocessing techniques for classification without
    discrimination (reweighing; the exponent is ours).
    """
    totals_GC = np.zeros((groups_N.max() + 1, classes_N.max() + 1))
    np.add.at(totals_GC, (groups_N, classes_N), weights_N)
    expected_GC = totals_GC.sum(1, keepdims=True) * totals_GC.sum(0) / totals_GC.sum()
    factor_N = (expected_GC[groups_N, classes_N] / totals_GC[groups_N, classes_N]) ** exponent
    scaled_N = weights_N * factor_N
    found_N: npt.NDArray[np.float32] = (scaled_N * weights_N.sum() / scaled_N.sum()).astype(
        np.float32
    )
    return found_N
