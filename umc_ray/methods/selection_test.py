"""Do labels that were selected teach more than as many that were drawn at random?

Two models are compared on samples drawn at random that neither has seen. Both learn from each
domain's first batch and from what was drawn at random up to some round; one then from n labels that
selection had bought by then, the other from n that were drawn at random later. So each model has
what its way would have bought with the same budget. To thin the selected labels out instead makes
them seem worse than they are: they complement each other.

Suffixes: N labeled samples, U of them drawn at random, D embedding dimension, M models, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.methods.heads import Loss, fit_alike

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

Utility = Callable[[FloatArray, npt.NDArray[np.generic]], FloatArray]
"""From outputs MNC and targets to utilities MN, 0 to 1."""

FOLDS = 5
LEVEL = 0.01
"""Risk of calling selection worse where it is as good. It is taken anew after every round."""


@dataclass(frozen=True)
class Labels:
    """The labels of a task: where each is from, in which round it was bought, and how."""

    embeddings_ND: FloatArray
    targets: npt.NDArray[np.generic]  # N first
    domains_N: npt.NDArray[np.str_]
    rounds_N: IntArray
    random_N: Bools  # drawn at random from its domain; the others were selected
    folds_N: IntArray  # 0 ... FOLDS - 1


@dataclass(frozen=True)
class Compared:
    """The utility, 0 to 1, of the two models on the samples drawn at random."""

    domains_U: npt.NDArray[np.str_]
    selected_U: FloatArray
    random_U: FloatArray


@dataclass(frozen=True)
class SelectionTest:
    """What the models had right of n samples in all, and the chance of that if they are equal."""

    n: int
    selected: float
    random: float
    p: float


def compare(labels: Labels, outputs: int, loss: Loss, utility: Utility) -> Compared | None:
    """Train both models without each fold, and judge them on it; None if they would not differ."""
    weights_MN = np.concatenate([_weights(labels, fold) for fold in range(FOLDS)])
    if np.array_equal(weights_MN[::2], weights_MN[1::2]):
        return None
    rows = np.flatnonzero(weights_MN.any(0) | labels.random_N)
    x_ND, targets, folds_N = labels.embeddings_ND[rows], labels.targets[rows], labels.folds_N[rows]
    outputs_MNC = fit_alike(x_ND, targets, weights_MN[:, rows], outputs, loss)
    utility_MN = utility(outputs_MNC, targets)
    columns = np.arange(len(rows))
    judged = labels.random_N[rows]
    return Compared(
        domains_U=labels.domains_N[rows][judged],
        selected_U=utility_MN[2 * folds_N, columns][judged],
        random_U=utility_MN[2 * folds_N + 1, columns][judged],
    )


def _weights(labels: Labels, fold: int) -> FloatArray:
    """Say which samples teach the two models that are judged on a fold, M = 2."""
    weights_MN = np.zeros((2, len(labels.targets)), np.float32)
    for domain in np.unique(labels.domains_N):
        mine_N = labels.domains_N == domain
        first_N = labels.rounds_N == labels.rounds_N[mine_N].min()
        bought = _by_round(labels, mine_N & ~first_N & ~labels.random_N)
        drawn = _by_round(labels, mine_N & labels.random_N & (labels.folds_N != fold))
        n, late = _split(labels.rounds_N[bought], labels.rounds_N[drawn])
        weights_MN[:, mine_N & first_N & ~labels.random_N] = 1
        weights_MN[:, drawn[:late]] = 1
        weights_MN[0, bought[:n]] = 1
        weights_MN[1, drawn[late : late + n]] = 1
    return weights_MN


def _by_round(labels: Labels, wanted_N: Bools) -> IntArray:
    rows = np.flatnonzero(wanted_N)
    return rows[np.argsort(labels.rounds_N[rows], kind="stable")]


def _split(bought_rounds: IntArray, drawn_rounds: IntArray) -> tuple[int, int]:
    """Find the round by which most was bought that later draws can match.

    Returns:
        How many labels to compare, and how many draws had come by that round.
    """
    rounds = np.unique(bought_rounds)
    bought = np.searchsorted(bought_rounds, rounds, side="right")
    late = np.searchsorted(drawn_rounds, rounds, side="right")
    matched = np.minimum(bought, len(drawn_rounds) - late)
    if not matched.size:
        return 0, 0
    best = int(matched.argmax())
    return int(matched[best]), int(late[best])


def judge(selected_U: FloatArray, random_U: FloatArray) -> SelectionTest:
    """Test whether the random labels' model is better, by the samples that one had more right.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated
    proportions; exact and one-sided.
    """
    from scipy.special import bdtrc  # a moment that most processes are spared

    only_random = int((random_U > selected_U).sum())
    differ = int((random_U != selected_U).sum())
    p = float(bdtrc(only_random - 1, differ, 0.5))
    return SelectionTest(len(random_U), float(selected_U.sum()), float(random_U.sum()), p)
