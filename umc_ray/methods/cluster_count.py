"""Into how many clusters do points fall? As many as another sample of them confirms.

Suffixes: N points, D embedding dimension, K clusters.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umc_ray.methods.clustering import Clusters, assign, kmeans

STRONG = 0.8
"""Prediction strength from which clusters count as there, as its authors advise (0.8 to 0.9)."""

_SPLITS, _STARTS = 3, 5


def cluster_count(x_ND: Tensor, most: int, *, seed: int) -> tuple[int, dict[int, float]]:
    """Find the largest number of clusters, up to `most`, that has a strength of STRONG.

    Returns:
        The number, 1 if no other is strong enough, and the strength of each from 2.

    Source: Tibshirani and Walther 2005, Cluster Validation by Prediction Strength.
    """
    counts = range(2, min(most, len(x_ND) // 4) + 1)
    strengths = {k: _mean_strength(x_ND, k, seed) for k in counts}
    return max((k for k, each in strengths.items() if each >= STRONG), default=1), strengths


def _mean_strength(x_ND: Tensor, k: int, seed: int) -> float:
    """Average over random halves, in turn."""
    found = []
    for split in range(_SPLITS):
        generator = torch.Generator().manual_seed(seed + split)
        order = torch.randperm(len(x_ND), generator=generator)
        half = len(x_ND) // 2
        found.append(prediction_strength(x_ND[order[:half]], x_ND[order[half:]], k, seed=seed))
    return float(np.mean(found))


def prediction_strength(train_ND: Tensor, test_ND: Tensor, k: int, *, seed: int) -> float:
    """Give the share of pairs that the training clusters leave together, of the worst test cluster.

    From 0 to 1; a test cluster of one point counts as 0.
    """
    centers_KD = torch.from_numpy(_best(train_ND, k, seed).centers_KD)
    predicted_N = assign(test_ND, centers_KD)[0].numpy()
    own_N = _best(test_ND, k, seed).labels_N
    return min(_together(predicted_N[own_N == label]) for label in np.unique(own_N))


def _together(labels_N: npt.NDArray[np.int64]) -> float:
    """Return the share of all pairs that have one label."""
    n, counts_K = len(labels_N), np.bincount(labels_N)
    return float((counts_K * (counts_K - 1)).sum() / max(n * (n - 1), 1))


def _best(x_ND: Tensor, k: int, seed: int) -> Clusters:
    """Keep the best of several starts: a bad one would speak against the number."""
    found = [kmeans(x_ND, k, seed=seed * _STARTS + start) for start in range(_STARTS)]
    return min(found, key=lambda each: each.inertia)
