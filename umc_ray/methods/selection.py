"""Which candidates to ask people about: informative ones that also differ from each other.

A strategy sees the candidates sorted by sample id and names rows in the order of its preference;
`select` completes a list that is too short with the next best by acquisition.

Suffixes: N candidates, D embedding dimension, C classes, B batch, L labeled samples, K clusters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods.clustering import kmeans
from umc_ray.methods.coverage import (
    Floats,
    Rows,
    k_center,
    max_coverage,
    spread,
    squared_distances,
    typicality,
)
from umc_ray.methods.scoring import top_m

_NEAR = 1e-4  # squared distance, as a share of the spread, up to which two candidates are one
_LEAST = np.float32(1e-6)  # weight of a candidate that teaches nothing
_BLOCK = 2048


@dataclass(frozen=True)
class Candidates:
    """N samples that may be asked about; acquisition: higher = more informative.

    `probs_NC`, the mean of the ensemble, is needed by the strategy badge only.
    """

    ids_N: npt.NDArray[np.int64]
    acquisition_N: Floats
    embeddings_ND: Floats
    probs_NC: Floats | None = None


Strategy = Callable[[Candidates, int, int, Floats], Rows]
"""From candidates, batch, seed and labeled embeddings to rows, best first."""


def select(
    strategy: str,
    candidates: Candidates,
    batch: int,
    *,
    seed: int,
    labeled_embeddings: npt.NDArray[np.floating] | None = None,
) -> Rows:
    """Choose min(batch, N) different candidates, best first; returns their rows.

    The order of the candidates does not matter: ties go to the smaller sample id.

    Raises:
        ConfigError: no strategy has this name.
        DataError: the candidates' arrays don't fit together.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    _check(candidates, batch)
    by_id_N = np.argsort(candidates.ids_N, kind="stable")
    ordered = _take(candidates, by_id_N)
    if labeled_embeddings is None:
        labeled_embeddings = ordered.embeddings_ND[:0]
    batch = min(batch, len(by_id_N))
    if not batch:
        return by_id_N[:0]
    picks = STRATEGIES[strategy](ordered, batch, seed, labeled_embeddings.astype(np.float32))
    return by_id_N[_complete(picks[:batch], ordered, batch)]


def _check(candidates: Candidates, batch: int) -> None:
    n = len(candidates.ids_N)
    lengths = {
        name: len(values)
        for name in ("acquisition_N", "embeddings_ND", "probs_NC")
        if (values := getattr(candidates, name)) is not None
    }
    if batch < 0 or any(length != n for length in lengths.values()):
        raise DataError(f"asked for {batch} of {n} candidates with arrays of lengths {lengths}")


def _take(candidates: Candidates, rows: Rows) -> Candidates:
    probs_NC = candidates.probs_NC
    return Candidates(
        candidates.ids_N[rows],
        candidates.acquisition_N[rows],
        candidates.embeddings_ND[rows].astype(np.float32),
        None if probs_NC is None else probs_NC[rows].astype(np.float32),
    )


def _complete(picks: Rows, candidates: Candidates, batch: int) -> Rows:
    rest = np.setdiff1d(np.arange(len(candidates.ids_N)), picks)
    best = top_m(candidates.acquisition_N[rest], candidates.ids_N[rest], batch - len(picks))
    return np.concatenate([picks, rest[best]])


def _random(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    return np.random.default_rng(seed).permutation(len(candidates.ids_N))[:batch]


def _top(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    return top_m(candidates.acquisition_N, candidates.ids_N, batch)


def _cluster(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cluster into B groups and ask about one of each, then a second, ...: informative and central.

    A pick has the highest product of informativeness and closeness to the center; either alone is
    worse on both sets of digits that were tried.

    Source: Zhdanov 2019, Diverse mini-batch Active Learning (weighted k-means); Citovsky et al.
    2021, Batch Active Learning at Scale (clusters in turn).
    """
    x_ND, weights_N = candidates.embeddings_ND, _weights(candidates.acquisition_N)
    clusters = kmeans(
        torch.from_numpy(x_ND), batch, seed=seed, sample_weight_N=torch.from_numpy(weights_N)
    )
    labels_N = clusters.labels_N
    distance_N = ((x_ND - clusters.centers_KD[labels_N]) ** 2).sum(1)
    usual_K = np.bincount(labels_N, distance_N) / np.bincount(labels_N)
    worth_N = weights_N * np.exp(-distance_N / np.maximum(usual_K, 1e-12)[labels_N])
    best_first_N = top_m(worth_N, candidates.ids_N, len(x_ND))
    turn_N = _rank_within(labels_N[best_first_N])
    return _without_repeats(x_ND, best_first_N[np.argsort(turn_N, kind="stable")], batch)


def _weights(acquisition_N: Floats) -> Floats:
    """Acquisition mapped to 0.1 ... 1, so that every candidate counts in a mean."""
    low, high = float(acquisition_N.min()), float(acquisition_N.max())
    weights_N: Floats = 0.1 + 0.9 * (acquisition_N - low) / max(high - low, 1e-12)
    return weights_N.astype(np.float32)


def _rank_within(labels_N: npt.NDArray[np.int64]) -> Rows:
    """For each position, how many earlier positions hold the same label."""
    order_N = np.argsort(labels_N, kind="stable")
    sorted_N = labels_N[order_N]
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(labels_N)) - np.searchsorted(sorted_N, sorted_N)
    return rank_N


def _without_repeats(x_ND: Floats, order_N: Rows, batch: int) -> Rows:
    """First B rows in the order that are not near-duplicates of earlier ones."""
    near = _NEAR * spread(x_ND)
    taken = order_N[:0]
    step = min(batch, _BLOCK)
    for start in range(0, len(order_N), step):
        block = order_N[start : start + step]
        block = block[~(squared_distances(x_ND[block], x_ND[taken]) <= near).any(1)]
        repeats_BB = np.tril(squared_distances(x_ND[block], x_ND[block]) <= near, -1)
        taken = np.concatenate([taken, block[~repeats_BB.any(1)]])
        if len(taken) >= batch:
            break
    return taken[:batch]


def _herding(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cover the candidates."""
    ones_N = np.ones(len(candidates.ids_N), np.float32)
    return max_coverage(candidates.embeddings_ND, ones_N, batch, seed=seed, labeled_LD=labeled_LD)


def _uncertainty_herding(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cover the candidates, each as far as it is informative.

    With few labels all are about as uncertain, and the picks spread; later the few that are still
    uncertain weigh most. It is the size of the acquisition that says which, so it is not rescaled.

    Source: Bae et al. 2025, Uncertainty Herding: One Active Learning Method for All Label Budgets
    (the ensemble is calibrated already; the kernel's width has another rule).
    """
    weights_N = candidates.acquisition_N - min(float(candidates.acquisition_N.min()), 0.0)
    x_ND = candidates.embeddings_ND
    return max_coverage(x_ND, weights_N + _LEAST, batch, seed=seed, labeled_LD=labeled_LD)


def _kcenter(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    return k_center(candidates.embeddings_ND, batch, labeled_LD=labeled_LD)


def _typical(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Ask about the most typical sample of each of the largest clusters without a label.

    Source: Hacohen et al. 2022, Active Learning on a Budget (TypiClust).
    """
    x_ND = candidates.embeddings_ND
    n, k = len(x_ND), batch + len(labeled_LD)
    both_MD = torch.from_numpy(np.concatenate([x_ND, labeled_LD]))
    labels_M = kmeans(both_MD, k, seed=seed).labels_N
    sizes_K = np.bincount(labels_M[:n], minlength=labels_M.max() + 1)
    sizes_K[np.unique(labels_M[n:])] -= n + 1  # behind all that have no label yet
    largest_K = np.argsort(-sizes_K, kind="stable")[:batch]
    groups = (np.flatnonzero(labels_M[:n] == cluster) for cluster in largest_K)
    picks = [rows[typicality(x_ND[rows]).argmax()] for rows in groups if len(rows)]
    return np.array(picks, np.intp)


def _badge(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Draw by k-means++ from the gradients that the samples would give to a linear head.

    A gradient is the outer product of (p - onehot) and the embedding, so its dot products are
    products of two small ones and no N x C x D is built.

    Source: Ash et al. 2020, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds.
    """
    if candidates.probs_NC is None:
        raise DataError("strategy badge needs the candidates' class probabilities, got none")
    x_ND, residual_NC = candidates.embeddings_ND, candidates.probs_NC.copy()
    residual_NC[np.arange(len(x_ND)), residual_NC.argmax(1)] -= 1
    norm_N = (x_ND**2).sum(1) * (residual_NC**2).sum(1)
    rng = np.random.default_rng(seed)
    nearest_N = np.full(len(x_ND), np.inf)
    picks = [int(norm_N.argmax())]
    while len(picks) < batch:
        last = picks[-1]
        dots_N = (x_ND @ x_ND[last]) * (residual_NC @ residual_NC[last])
        np.minimum(nearest_N, norm_N + norm_N[last] - 2 * dots_N, out=nearest_N)
        nearest_N[nearest_N <= 1e-6 * norm_N] = 0  # repeats, but for rounding
        nearest_N[picks] = 0
        mass_N = nearest_N.cumsum()
        if mass_N[-1] <= 0:
            break
        picks.append(int(np.searchsorted(mass_N, rng.random() * mass_N[-1], side="right")))
    return np.array(picks, np.intp)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "random": _random,
        "top": _top,
        "cluster": _cluster,
        "herding": _herding,
        "uncertainty_herding": _uncertainty_herding,
        "typical": _typical,
        "badge": _badge,
        "kcenter": _kcenter,
    }
)

COVERING = frozenset({"herding", "kcenter", "typical", "uncertainty_herding"})
"""Strategies that look at what is labeled already; to the others it is all the same."""
