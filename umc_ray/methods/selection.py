"""Which candidates to ask people about: informative ones that also differ from each other.

Every strategy sees the candidates sorted by sample id and names rows in the order of its
preference; `select` completes a list that is too short with the next best by acquisition.

Suffixes: N candidates, D embedding dimension, C classes, B batch, L labeled samples, R references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods.clustering import kmeans
from umc_ray.methods.scoring import top_m

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

_NEAR = 1e-4  # squared distance, as a share of the spread, below which two candidates are one
_REFERENCES = 2000  # points that stand for the pool in the coverage of herding
_REFRESH = 64  # stale gains brought up to date at once by a greedy strategy
_NEIGHBOURS = 20


@dataclass(frozen=True)
class Candidates:
    """N samples that may be asked about; acquisition: higher = more informative.

    `probs_NC` (ensemble mean) is needed by the strategy badge only.
    """

    ids_N: npt.NDArray[np.int64]
    acquisition_N: Floats
    embeddings_ND: Floats
    probs_NC: Floats | None = None


def select(
    strategy: str,
    candidates: Candidates,
    batch: int,
    *,
    seed: int,
    labeled_embeddings: Floats | None = None,
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
    batch = min(batch, len(by_id_N))
    if labeled_embeddings is None:
        labeled_embeddings = ordered.embeddings_ND[:0]
    picks = STRATEGIES[strategy](ordered, batch, seed, labeled_embeddings) if batch else by_id_N[:0]
    return by_id_N[_complete(picks, ordered, batch)]


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
        np.ascontiguousarray(candidates.embeddings_ND[rows], np.float32),
        None if probs_NC is None else probs_NC[rows],
    )


def _complete(picks: Rows, candidates: Candidates, batch: int) -> Rows:
    picks = picks[:batch]
    if len(picks) == batch:
        return picks
    rest = np.setdiff1d(np.arange(len(candidates.ids_N)), picks)
    best = top_m(candidates.acquisition_N[rest], candidates.ids_N[rest], batch - len(picks))
    return np.concatenate([picks, rest[best]])


def _random(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    return np.random.default_rng(seed).permutation(len(candidates.ids_N))[:batch]


def _top(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    return top_m(candidates.acquisition_N, candidates.ids_N, batch)


def _cluster(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cluster into B groups, ask about the most informative of each, then the second best, ...

    Source: Citovsky et al. 2021, Batch Active Learning at Scale (Cluster-Margin; here with
    weighted k-means instead of HAC).
    """
    x_ND = candidates.embeddings_ND
    clusters = kmeans(
        torch.from_numpy(x_ND),
        batch,
        seed=seed,
        sample_weight_N=torch.from_numpy(_weights(candidates.acquisition_N)),
    )
    best_first_N = top_m(candidates.acquisition_N, candidates.ids_N, len(x_ND))
    turn_N = _rank_within(clusters.labels_N[best_first_N])
    return _spread(x_ND, best_first_N[np.argsort(turn_N, kind="stable")], batch)


def _weights(acquisition_N: Floats) -> Floats:
    """Acquisition mapped to 0.1 ... 1, so that every candidate counts in a mean."""
    low, high = acquisition_N.min(), acquisition_N.max()
    weights_N: Floats = (0.1 + 0.9 * (acquisition_N - low) / max(high - low, 1e-12)).astype(
        np.float32
    )
    return weights_N


def _rank_within(labels_N: npt.NDArray[np.int64]) -> Rows:
    """For each position, how many earlier positions hold the same label."""
    order_N = np.argsort(labels_N, kind="stable")
    sorted_N = labels_N[order_N]
    first_N = np.searchsorted(sorted_N, sorted_N)
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(labels_N)) - first_N
    return rank_N


def _spread(x_ND: Floats, order_N: Rows, batch: int) -> Rows:
    """First B rows in the order that are not near-duplicates of rows taken before."""
    near = _NEAR * float(x_ND.var(0).sum())
    taken: Rows = order_N[:0]
    for start in range(0, len(order_N), batch):
        block = order_N[start : start + batch]
        seen = np.concatenate([taken, block])
        close_BB = np.tril(_distances(x_ND[block], x_ND[seen]) <= near, len(taken) - 1)
        keep_B = np.ones(len(block), bool)
        for i in np.flatnonzero(close_BB.any(1)):
            keep_B[i] = not close_BB[i, np.append(np.ones(len(taken), bool), keep_B)].any()
        taken = np.concatenate([taken, block[keep_B]])
        if len(taken) >= batch:
            break
    return taken[:batch]


def _distances(a_ND: Floats, b_MD: Floats) -> Floats:
    """Squared Euclidean distances N x M."""
    squares_NM: Floats = a_ND @ b_MD.T
    squares_NM *= -2
    squares_NM += (a_ND**2).sum(1)[:, None]
    squares_NM += (b_MD**2).sum(1)
    return np.maximum(squares_NM, 0, out=squares_NM)


def _herding(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cover the candidates: each pick adds most to the similarity to the nearest pick.

    Source: Bae et al. 2024, Generalized Coverage for More Robust Low-Budget Active Learning.
    """
    ones_N = np.ones(len(candidates.ids_N), np.float32)
    return _max_coverage(candidates.embeddings_ND, ones_N, batch, seed, labeled_LD)


def _uncertainty_herding(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Cover the candidates, the informative ones first.

    Source: Bae et al. 2025, Uncertainty Herding: One Active Learning Method for All Label Budgets.
    """
    weights_N = _weights(candidates.acquisition_N)
    return _max_coverage(candidates.embeddings_ND, weights_N, batch, seed, labeled_LD)


def _max_coverage(
    x_ND: Floats, weights_N: Floats, batch: int, seed: int, labeled_LD: Floats
) -> Rows:
    n = len(x_ND)
    references = np.random.default_rng(seed).permutation(n)[:_REFERENCES]
    ref_RD, weights_R = x_ND[references], weights_N[references]
    scale = max(float(x_ND.var(0).sum()), 1e-12)
    kernel_NR = np.exp(-_distances(x_ND, ref_RD) / scale)
    covered_R = np.zeros(len(references), np.float32)
    if len(labeled_LD):
        covered_R = np.exp(-_distances(ref_RD, labeled_LD) / scale).max(1)

    def gains(rows: Rows, picks: list[int]) -> Floats:
        if picks:
            np.maximum(covered_R, kernel_NR[picks[-1]], out=covered_R)
        gain: Floats = np.maximum(kernel_NR[rows] - covered_R, 0) @ weights_R
        return gain

    return _lazy_greedy(gains, n, batch)


def _lazy_greedy(gains: Callable[[Rows, list[int]], Floats], n: int, batch: int) -> Rows:
    """Take the row of largest gain B times, where gains only fall as rows are taken.

    A stale gain is then an upper bound, so only rows whose bound leads are evaluated again.

    Source: Minoux 1978, Accelerated greedy algorithms for maximizing submodular set functions.
    """
    bound_N = gains(np.arange(n), [])
    picks: list[int] = []
    for _ in range(batch):
        fresh_N = np.full(n, not picks)
        while not fresh_N[best := int(bound_N.argmax())]:
            stale_N = np.where(fresh_N, -np.inf, bound_N)
            rows = np.argpartition(-stale_N, min(_REFRESH, n - 1))[:_REFRESH]
            rows = rows[np.isfinite(stale_N[rows])]
            bound_N[rows] = gains(rows, picks)
            fresh_N[rows] = True
        picks.append(best)
        bound_N[best] = -np.inf
    return np.array(picks, np.intp)


def _kcenter(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Take the candidate farthest from all that is labeled or taken.

    Source: Sener and Savarese 2018, Active Learning for Convolutional Neural Networks: A Core-Set
    Approach (greedy form).
    """
    x_ND = candidates.embeddings_ND
    if not len(labeled_LD):
        labeled_LD = x_ND.mean(0, keepdims=True)

    def gains(rows: Rows, picks: list[int]) -> Floats:
        centers = x_ND[picks] if picks else labeled_LD
        gain: Floats = np.minimum(start_N[rows], _distances(x_ND[rows], centers).min(1))
        return gain

    start_N = np.full(len(x_ND), np.inf, np.float32)
    start_N = gains(np.arange(len(x_ND)), [])
    return _lazy_greedy(gains, len(x_ND), batch)


def _typical(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Ask about the most typical point of each of the largest clusters without a label.

    Source: Hacohen et al. 2022, Active Learning on a Budget (TypiClust).
    """
    both_MD = np.concatenate([candidates.embeddings_ND, labeled_LD]).astype(np.float32)
    n, k = len(candidates.ids_N), batch + len(labeled_LD)
    labels_M = kmeans(torch.from_numpy(both_MD), k, seed=seed).labels_N
    labels_N, labeled = labels_M[:n], np.unique(labels_M[n:])
    sizes_K = np.bincount(labels_N, minlength=labels_M.max() + 1)
    sizes_K[labeled] -= n + 1  # behind every cluster that has no label yet
    order_K = np.argsort(-sizes_K, kind="stable")
    groups = (np.flatnonzero(labels_N == cluster) for cluster in order_K[:batch])
    x_ND = candidates.embeddings_ND
    return np.array(
        [rows[_typicality(x_ND[rows]).argmax()] for rows in groups if len(rows)], np.intp
    )


def _typicality(x_ND: Floats) -> Floats:
    """Inverse mean distance to the nearest 20 others."""
    neighbours = min(_NEIGHBOURS, len(x_ND) - 1)
    if neighbours < 1:
        return np.zeros(len(x_ND), np.float32)
    step = max(1, 2**24 // len(x_ND))
    mean_N = []
    for start in range(0, len(x_ND), step):
        distances = np.sqrt(_distances(x_ND[start : start + step], x_ND))
        nearest = np.partition(distances, neighbours, axis=1)[:, : neighbours + 1]
        mean_N.append(nearest.sum(1) / neighbours)
    typicality_N: Floats = 1 / np.maximum(np.concatenate(mean_N), 1e-12)
    return typicality_N


def _badge(candidates: Candidates, batch: int, seed: int, labeled_LD: Floats) -> Rows:
    """Draw by k-means++ from the gradients that the samples would give to a linear head.

    A gradient is the outer product of (p - onehot) and the embedding, so its dot products are
    products of two small ones and no N x C x D is built.

    Source: Ash et al. 2020, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds.
    """
    if candidates.probs_NC is None:
        raise DataError("strategy badge needs the candidates' class probabilities")
    x_ND = candidates.embeddings_ND
    residual_NC = candidates.probs_NC.astype(np.float32)
    rows = np.arange(len(x_ND))
    residual_NC[rows, residual_NC.argmax(1)] -= 1
    norm_N = (x_ND**2).sum(1) * (residual_NC**2).sum(1)
    rng = np.random.default_rng(seed)
    picks = [int(norm_N.argmax())]
    nearest_N = np.full(len(x_ND), np.inf, np.float32)
    while len(picks) < batch:
        last = picks[-1]
        dots_N = (x_ND @ x_ND[last]) * (residual_NC @ residual_NC[last])
        np.minimum(nearest_N, norm_N + norm_N[last] - 2 * dots_N, out=nearest_N)
        nearest_N[nearest_N <= 1e-6 * norm_N] = 0
        nearest_N[picks] = 0
        total_N = nearest_N.cumsum(dtype=np.float64)
        if total_N[-1] <= 0:
            break
        picks.append(int(np.searchsorted(total_N, rng.random() * total_N[-1], side="right")))
    return np.array(picks, np.intp)


STRATEGIES: Mapping[str, Callable[[Candidates, int, int, Floats], Rows]] = MappingProxyType(
    {
        "random": _random,
        "top": _top,
        "cluster": _cluster,
        "herding": _herding,
        "typical": _typical,
        "uncertainty_herding": _uncertainty_herding,
        "badge": _badge,
        "kcenter": _kcenter,
    }
)
