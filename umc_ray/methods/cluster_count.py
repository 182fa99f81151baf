"""Estimate the number of clusters: the largest one that a second sample confirms.

Suffixes: N points, D embedding dimension, K clusters.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umc_ray.methods.clustering import Clusters, assign, kmeans

MIN_STRENGTH = 0.8
"""Prediction strength at which clusters count as real; its authors advise 0.8 to 0.9."""

_SPLITS, _STARTS = 3, 5


def cluster_count(x_ND: Tensor, max_count: int, *, seed: int) -> tuple[int, dict[int, float]]:
    """Return the largest number of clusters, up to `max_count`, that reaches MIN_STRENGTH.

    Returns:
        The number (1 if no larger one is strong enough), and the strength of each one from 2 on.

    Source: Tibshirani and Walther 2005, Cluster Validation by Prediction Strength.
    """
    counts = range(2, min(max_count, len(x_ND) // 4) + 1)
    strengths = {k: _mean_strength(x_ND, k, seed) for k in counts}
    strong = [k for k, strength in strengths.items() if strength >= MIN_STRENGTH]
    return max(strong, default=1), strengths


def _mean_strength(x_ND: Tensor, k: int, seed: int) -> float:
    """Return the mean prediction strength over several random splits into halves."""
    strengths = []
    for split in range(_SPLITS):
        generator = torch.Generator().manual_seed(seed + split)
        order = torch.randperm(len(x_ND), generator=generator)
        half = len(x_ND) // 2
        train_ND, test_ND = x_ND[order[:half]], x_ND[order[half:]]
        strengths.append(prediction_strength(train_ND, test_ND, k, seed=seed))
    return float(np.mean(strengths))


def prediction_strength(train_ND: Tensor, test_ND: Tensor, k: int, *, seed: int) -> float:
    """Return the share of pairs in the worst test cluster that the training clusters keep together.

    It lies in 0 to 1; a test cluster of one point counts as 0.
    """
    centers_KD = torch.from_numpy(_best_clusters(train_ND, k, seed).centers_KD)
    predicted_N = assign(test_ND, centers_KD)[0].numpy()
    own_N = _best_clusters(test_ND, k, seed).labels_N
    return min(_same_label_share(predicted_N[own_N == label]) for label in np.unique(own_N))


def _same_label_share(labels_N: npt.NDArray[np.int64]) -> float:
    """Return the share of all pairs that have the same label."""
    n, counts_K = len(labels_N), np.bincount(labels_N)
    return float((counts_K * (counts_K - 1)).sum() / max(n * (n - 1), 1))


def _best_clusters(x_ND: Tensor, k: int, seed: int) -> Clusters:
    """Return the best of several k-means runs: a bad start would make k look wrong."""
    runs = [kmeans(x_ND, k, seed=seed * _STARTS + start) for start in range(_STARTS)]
    return min(runs, key=lambda run: run.inertia)
