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
    spread_gradients,
    typicality,
    without_repeats,
)
from umc_ray.methods.rarity import UNANSWERED, in_turns, nearest_to_rare
from umc_ray.methods.scoring import top_m

_LEAST = np.float32(1e-6)  # weight of a candidate that teaches nothing
# Chosen on development seeds of benchmarks/label_efficiency.py and campaign.py.
_FEW = 200  # labels of a domain up to which spread counts more than doubt
_FOCUS = 20  # candidates for each pick after that


@dataclass(frozen=True)
class Candidates:
    """N samples that may be asked about; acquisition: higher = more informative.

    `probs_NC`, the mean of the ensemble, is needed by the strategy badge only.
    """

    ids_N: npt.NDArray[np.int64]
    acquisition_N: Floats
    embeddings_ND: Floats
    probs_NC: Floats | None = None


@dataclass(frozen=True)
class Labeled:
    """L samples that people were asked about; `answers_L` is UNANSWERED where nobody could tell."""

    embeddings_LD: Floats
    answers_L: npt.NDArray[np.int64]


Strategy = Callable[[Candidates, int, int, Labeled], Rows]
"""From candidates, batch, seed and what is labeled already to rows, best first."""


def select(
    strategy: str,
    candidates: Candidates,
    batch: int,
    *,
    seed: int,
    labeled_embeddings: npt.NDArray[np.floating] | None = None,
    labeled_answers: npt.NDArray[np.integer] | None = None,
) -> Rows:
    """Choose min(batch, N) different candidates, best first; returns their rows.

    The order of the candidates does not matter: ties go to the smaller sample id. Without answers,
    what is labeled counts as UNANSWERED.

    Raises:
        ConfigError: no strategy has this name.
        DataError: the candidates' arrays, or those of the labeled samples, don't fit together.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    _check(candidates, batch)
    by_id_N = np.argsort(candidates.ids_N, kind="stable")
    ordered = _take(candidates, by_id_N)
    labeled = _labeled(ordered, labeled_embeddings, labeled_answers)
    batch = min(batch, len(by_id_N))
    if not batch:
        return by_id_N[:0]
    picks = STRATEGIES[strategy](ordered, batch, seed, labeled)
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


def _labeled(
    candidates: Candidates,
    embeddings_LD: npt.NDArray[np.floating] | None,
    answers_L: npt.NDArray[np.integer] | None,
) -> Labeled:
    if embeddings_LD is None or not len(embeddings_LD):
        embeddings_LD = candidates.embeddings_ND[:0]
    if answers_L is None:
        answers_L = np.full(len(embeddings_LD), UNANSWERED)
    if len(answers_L) != len(embeddings_LD):
        raise DataError(f"{len(embeddings_LD)} labeled samples came with {len(answers_L)} answers")
    return Labeled(embeddings_LD.astype(np.float32), answers_L.astype(np.int64))


def _complete(picks: Rows, candidates: Candidates, batch: int) -> Rows:
    rest = np.setdiff1d(np.arange(len(candidates.ids_N)), picks)
    best = top_m(candidates.acquisition_N[rest], candidates.ids_N[rest], batch - len(picks))
    return np.concatenate([picks, rest[best]])


def _random(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return np.random.default_rng(seed).permutation(len(candidates.ids_N))[:batch]


def _top(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return top_m(candidates.acquisition_N, candidates.ids_N, batch)


def _power(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Draw in proportion to the acquisition, without replacement: Gumbel noise on its logarithm.

    Source: Kirsch et al. 2023, Stochastic Batch Acquisition (power acquisition, beta = 1).
    """
    noise_N = np.random.default_rng(seed).gumbel(size=len(candidates.ids_N))
    return top_m(np.log(_amounts(candidates.acquisition_N)) + noise_N, candidates.ids_N, batch)


def _amounts(acquisition_N: Floats) -> Floats:
    """Give the acquisition as it is, but moved up where some is negative; nothing is 0."""
    amounts_N: Floats = acquisition_N - min(float(acquisition_N.min()), 0.0) + _LEAST
    return amounts_N


def _cluster(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
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
    return without_repeats(x_ND, best_first_N[np.argsort(turn_N, kind="stable")], batch)


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


def _herding(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover the candidates."""
    x_ND, ones_N = candidates.embeddings_ND, np.ones(len(candidates.ids_N), np.float32)
    return max_coverage(x_ND, ones_N, batch, seed=seed, labeled_LD=labeled.embeddings_LD)


def _uncertainty_herding(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover the candidates, each as far as it is informative.

    With few labels all are about as uncertain, and the picks spread; later the few that are still
    uncertain weigh most. It is the size of the acquisition that says which, so it is not rescaled.

    Source: Bae et al. 2025, Uncertainty Herding: One Active Learning Method for All Label Budgets
    (the ensemble is calibrated already; the kernel's width has another rule).
    """
    x_ND, amounts_N = candidates.embeddings_ND, _amounts(candidates.acquisition_N)
    return max_coverage(x_ND, amounts_N, batch, seed=seed, labeled_LD=labeled.embeddings_LD)


def _adaptive(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover the candidates as long as there are few labels, then cluster the least certain.

    With few labels, models are unsure of most samples for want of neighbours, and a new region
    teaches most; with many, what is left lies along the borders of the classes.

    Source: Hacohen et al. 2022, Active Learning on a Budget (strategies for low and high budgets).
    """
    if len(labeled.embeddings_LD) < _FEW:
        return _uncertainty_herding(candidates, batch, seed, labeled)
    best = np.sort(top_m(candidates.acquisition_N, candidates.ids_N, _FOCUS * batch))
    return best[_cluster(_take(candidates, best), batch, seed, labeled)]


def _rare(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Ask next to known samples of rare classes, in turns with what uncertainty herding asks.

    The latter finds the first samples of a class that is too rare to be known yet.
    """
    x_ND = candidates.embeddings_ND
    near_N = nearest_to_rare(x_ND, labeled.embeddings_LD, labeled.answers_L)
    unsure_B = _uncertainty_herding(candidates, batch, seed, labeled)
    return without_repeats(x_ND, in_turns([near_N, unsure_B]), batch)


def _kcenter(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return k_center(candidates.embeddings_ND, batch, labeled_LD=labeled.embeddings_LD)


def _typical(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Ask about the most typical sample of each of the largest clusters without a label.

    Source: Hacohen et al. 2022, Active Learning on a Budget (TypiClust).
    """
    x_ND = candidates.embeddings_ND
    n, k = len(x_ND), batch + len(labeled.embeddings_LD)
    both_MD = torch.from_numpy(np.concatenate([x_ND, labeled.embeddings_LD]))
    labels_M = kmeans(both_MD, k, seed=seed).labels_N
    sizes_K = np.bincount(labels_M[:n], minlength=labels_M.max() + 1)
    sizes_K[np.unique(labels_M[n:])] -= n + 1  # behind all that have no label yet
    largest_K = np.argsort(-sizes_K, kind="stable")[:batch]
    groups = (np.flatnonzero(labels_M[:n] == cluster) for cluster in largest_K)
    picks = [rows[typicality(x_ND[rows]).argmax()] for rows in groups if len(rows)]
    return np.array(picks, np.intp)


def _badge(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Draw by k-means++ from the gradients that the samples would give to a linear head.

    Source: Ash et al. 2020, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds.
    """
    if candidates.probs_NC is None:
        raise DataError("strategy badge needs the candidates' class probabilities, got none")
    return spread_gradients(candidates.embeddings_ND, candidates.probs_NC, batch, seed=seed)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "adaptive": _adaptive,
        "random": _random,
        "top": _top,
        "power": _power,
        "cluster": _cluster,
        "herding": _herding,
        "uncertainty_herding": _uncertainty_herding,
        "typical": _typical,
        "badge": _badge,
        "kcenter": _kcenter,
        "rare": _rare,
    }
)

INFORMED = frozenset({"adaptive", "herding", "kcenter", "rare", "typical", "uncertainty_herding"})
"""Strategies that look at what is labeled already; to the others it is all the same."""
