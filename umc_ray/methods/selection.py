"""Select the batch to annotate: candidates that are informative and differ from each other.

A strategy gets the candidates sorted by sample id and returns rows, best first. If it returns too
few, `select` fills the batch with the highest acquisition values.

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
    draw_diverse_gradients,
    k_center,
    max_coverage,
    skip_near_duplicates,
    typicality,
)
from umc_ray.methods.rarity import UNANSWERED, interleave, nearest_to_rare
from umc_ray.methods.scoring import top_m

_MIN_ACQUISITION = np.float32(1e-6)  # keeps weights and logarithms finite
# Chosen on development seeds of benchmarks/label_efficiency.py and campaign.py.
_LOW_BUDGET = 200  # labels of a domain up to which coverage matters more than uncertainty
_CANDIDATES_PER_PICK = 20  # above the low budget


@dataclass(frozen=True)
class Candidates:
    """N samples that can be selected; a higher acquisition value means more informative.

    `probs_NC`, the mean of the ensemble, is needed by the strategy badge only.
    """

    ids_N: npt.NDArray[np.int64]
    acquisition_N: Floats
    embeddings_ND: Floats
    probs_NC: Floats | None = None


@dataclass(frozen=True)
class Labeled:
    """L samples that were annotated; `answers_L` is UNANSWERED where there is no answer."""

    embeddings_LD: Floats
    answers_L: npt.NDArray[np.int64]


Strategy = Callable[[Candidates, int, int, Labeled], Rows]
"""Maps candidates, batch size, seed and labeled samples to rows, best first."""


def select(
    strategy: str,
    candidates: Candidates,
    batch: int,
    *,
    seed: int,
    labeled_embeddings: npt.NDArray[np.floating] | None = None,
    labeled_answers: npt.NDArray[np.integer] | None = None,
) -> Rows:
    """Return the rows of min(batch, N) distinct candidates, best first.

    The order of the candidates does not matter: ties go to the smaller sample id. Without
    `labeled_answers`, all labeled samples count as UNANSWERED.

    Raises:
        ConfigError: there is no strategy with this name.
        DataError: the arrays of the candidates or of the labeled samples differ in length.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    _check(candidates, batch)
    by_id_N = np.argsort(candidates.ids_N, kind="stable")
    ordered = _subset(candidates, by_id_N)
    labeled = _labeled_samples(ordered, labeled_embeddings, labeled_answers)
    batch = min(batch, len(by_id_N))
    if not batch:
        return by_id_N[:0]
    picks = STRATEGIES[strategy](ordered, batch, seed, labeled)
    return by_id_N[_fill_batch(picks[:batch], ordered, batch)]


def _check(candidates: Candidates, batch: int) -> None:
    n = len(candidates.ids_N)
    lengths = {
        name: len(values)
        for name in ("acquisition_N", "embeddings_ND", "probs_NC")
        if (values := getattr(candidates, name)) is not None
    }
    if batch < 0 or any(length != n for length in lengths.values()):
        raise DataError(f"cannot select {batch} of {n} candidates with arrays of lengths {lengths}")


def _subset(candidates: Candidates, rows: Rows) -> Candidates:
    probs_NC = candidates.probs_NC
    return Candidates(
        candidates.ids_N[rows],
        candidates.acquisition_N[rows],
        candidates.embeddings_ND[rows].astype(np.float32),
        None if probs_NC is None else probs_NC[rows].astype(np.float32),
    )


def _labeled_samples(
    candidates: Candidates,
    embeddings_LD: npt.NDArray[np.floating] | None,
    answers_L: npt.NDArray[np.integer] | None,
) -> Labeled:
    if embeddings_LD is None or not len(embeddings_LD):
        embeddings_LD = candidates.embeddings_ND[:0]
    if answers_L is None:
        answers_L = np.full(len(embeddings_LD), UNANSWERED)
    if len(answers_L) != len(embeddings_LD):
        raise DataError(f"got {len(embeddings_LD)} labeled samples, but {len(answers_L)} answers")
    return Labeled(embeddings_LD.astype(np.float32), answers_L.astype(np.int64))


def _fill_batch(picks: Rows, candidates: Candidates, batch: int) -> Rows:
    """Fill the batch with the highest acquisition values among the rest."""
    rest = np.setdiff1d(np.arange(len(candidates.ids_N)), picks)
    best = top_m(candidates.acquisition_N[rest], candidates.ids_N[rest], batch - len(picks))
    return np.concatenate([picks, rest[best]])


def _random(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return np.random.default_rng(seed).permutation(len(candidates.ids_N))[:batch]


def _top(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return top_m(candidates.acquisition_N, candidates.ids_N, batch)


def _power(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Draw without replacement with odds proportional to the acquisition (Gumbel top-k).

    Source: Kirsch et al. 2023, Stochastic Batch Acquisition (power acquisition, beta = 1).
    """
    noise_N = np.random.default_rng(seed).gumbel(size=len(candidates.ids_N))
    return top_m(np.log(_positive(candidates.acquisition_N)) + noise_N, candidates.ids_N, batch)


def _positive(acquisition_N: Floats) -> Floats:
    """Return positive acquisition values: all are shifted up if one is negative."""
    positive_N: Floats = acquisition_N - min(float(acquisition_N.min()), 0.0) + _MIN_ACQUISITION
    return positive_N


def _cluster(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cluster into B groups; pick the best candidate of each, then the second best, and so on.

    The best candidate has the highest product of informativeness and closeness to the center.
    Either factor alone is worse on both sets of digits in the benchmark.

    Source: Zhdanov 2019, Diverse mini-batch Active Learning (weighted k-means); Citovsky et al.
    2021, Batch Active Learning at Scale (clusters in turn).
    """
    x_ND, weights_N = candidates.embeddings_ND, _weights(candidates.acquisition_N)
    clusters = kmeans(
        torch.from_numpy(x_ND), batch, seed=seed, sample_weight_N=torch.from_numpy(weights_N)
    )
    labels_N = clusters.labels_N
    distance_N = ((x_ND - clusters.centers_KD[labels_N]) ** 2).sum(1)
    mean_K = np.bincount(labels_N, distance_N) / np.bincount(labels_N)
    score_N = weights_N * np.exp(-distance_N / np.maximum(mean_K, 1e-12)[labels_N])
    best_first_N = top_m(score_N, candidates.ids_N, len(x_ND))
    rank_N = _rank_within_label(labels_N[best_first_N])
    order_N = best_first_N[np.argsort(rank_N, kind="stable")]
    return skip_near_duplicates(x_ND, order_N, batch)


def _weights(acquisition_N: Floats) -> Floats:
    """Scale the acquisition to 0.1..1, so that every candidate has some weight."""
    low, high = float(acquisition_N.min()), float(acquisition_N.max())
    weights_N: Floats = 0.1 + 0.9 * (acquisition_N - low) / max(high - low, 1e-12)
    return weights_N.astype(np.float32)


def _rank_within_label(labels_N: npt.NDArray[np.int64]) -> Rows:
    """Return for each position how many earlier positions have the same label."""
    order_N = np.argsort(labels_N, kind="stable")
    sorted_N = labels_N[order_N]
    rank_N = np.empty_like(order_N)
    rank_N[order_N] = np.arange(len(labels_N)) - np.searchsorted(sorted_N, sorted_N)
    return rank_N


def _herding(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover all candidates, with equal weights."""
    x_ND, ones_N = candidates.embeddings_ND, np.ones(len(candidates.ids_N), np.float32)
    return max_coverage(x_ND, ones_N, batch, seed=seed, labeled_LD=labeled.embeddings_LD)


def _uncertainty_herding(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover the candidates, weighted by their acquisition.

    With few labels, all candidates are about equally uncertain, and the picks spread out. Later,
    the few uncertain ones dominate. The acquisition is not rescaled, because its size makes this
    transition.

    Source: Bae et al. 2025, Uncertainty Herding: One Active Learning Method for All Label Budgets
    (here the ensemble is calibrated beforehand, and the kernel width follows another rule).
    """
    x_ND, weights_N = candidates.embeddings_ND, _positive(candidates.acquisition_N)
    return max_coverage(x_ND, weights_N, batch, seed=seed, labeled_LD=labeled.embeddings_LD)


def _adaptive(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Cover the candidates while labels are few, then cluster the least certain ones.

    With few labels, most samples are uncertain because no labeled neighbor is close, and new
    regions teach most. With many labels, the uncertain samples lie along the class borders.

    Source: Hacohen et al. 2022, Active Learning on a Budget (strategies for low and high budgets).
    """
    if len(labeled.embeddings_LD) < _LOW_BUDGET:
        return _uncertainty_herding(candidates, batch, seed, labeled)
    count = _CANDIDATES_PER_PICK * batch
    best = np.sort(top_m(candidates.acquisition_N, candidates.ids_N, count))
    return best[_cluster(_subset(candidates, best), batch, seed, labeled)]


def _rare(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Alternate between neighbors of rare classes and the picks of uncertainty herding.

    Uncertainty herding finds the first samples of classes that nobody has labeled yet.
    """
    x_ND = candidates.embeddings_ND
    near_N = nearest_to_rare(x_ND, labeled.embeddings_LD, labeled.answers_L)
    uncertain_B = _uncertainty_herding(candidates, batch, seed, labeled)
    return skip_near_duplicates(x_ND, interleave([near_N, uncertain_B]), batch)


def _kcenter(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    return k_center(candidates.embeddings_ND, batch, labeled_LD=labeled.embeddings_LD)


def _typical(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Pick the most typical sample of each of the largest clusters without a label.

    Source: Hacohen et al. 2022, Active Learning on a Budget (TypiClust).
    """
    x_ND = candidates.embeddings_ND
    n, k = len(x_ND), batch + len(labeled.embeddings_LD)
    both_MD = torch.from_numpy(np.concatenate([x_ND, labeled.embeddings_LD]))
    labels_M = kmeans(both_MD, k, seed=seed).labels_N
    sizes_K = np.bincount(labels_M[:n], minlength=labels_M.max() + 1)
    sizes_K[np.unique(labels_M[n:])] -= n + 1  # rank after all clusters without a label
    largest_K = np.argsort(-sizes_K, kind="stable")[:batch]
    groups = (np.flatnonzero(labels_M[:n] == cluster) for cluster in largest_K)
    picks = [rows[typicality(x_ND[rows]).argmax()] for rows in groups if len(rows)]
    return np.array(picks, np.intp)


def _badge(candidates: Candidates, batch: int, seed: int, labeled: Labeled) -> Rows:
    """Draw with k-means++ on the gradients of a linear head.

    Source: Ash et al. 2020, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds.
    """
    if candidates.probs_NC is None:
        raise DataError("strategy badge needs the class probabilities of the candidates, got none")
    return draw_diverse_gradients(candidates.embeddings_ND, candidates.probs_NC, batch, seed=seed)


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
"""Strategies that use the labeled samples; the others ignore them."""
