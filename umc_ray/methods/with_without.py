"""Do the samples of an action teach more than labels of the plain selection that cost as much?

Audits cannot say: of 40 of them, hardly any are in a gap. But each real label can be held out. Two
heads learn from everything else: one from the samples of the action, the other from plain labels
of equal cost. They are judged on the real samples of a fold that neither has seen, in pairs, so
that what both get wrong is no noise. No label is spent on it.

Suffixes: N labeled samples, real and synthetic, F folds, M heads, C outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from umc_ray.methods.class_weights import balanced
from umc_ray.methods.heads import Loss, fit_alike

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

FOLDS = 5
FEWEST = 5
"""Plain labels, and samples to judge by, at least: fewer say nothing."""

NOISE = 1.5
"""By how much the error is larger than that of the mean over samples: which plain labels are taken
and how samples are dealt into folds is chance as well (benchmarks/refill_reward.py)."""


@dataclass(frozen=True)
class Labels:
    """What heads may learn from.

    `taught_NF`: whether a sample may teach the heads that are judged on a fold: real ones outside
    of it, synthetic ones that were made from none of it.
    """

    x_ND: FloatArray
    targets: npt.NDArray[np.generic]  # N first
    strata_N: IntArray  # classes, which are balanced in training: the prior is not what is measured
    weights_N: FloatArray
    cost_N: npt.NDArray[np.float64]
    folds_N: IntArray  # 0 ... FOLDS - 1
    taught_NF: Bools


@dataclass(frozen=True)
class Bought:
    """The samples that an action has brought, and what they are compared with.

    `cost` is that of all answers: also of synthetic samples that people rejected. `plain_N` are
    labels of the same rounds that the plain selection chose.
    """

    brought_N: Bools
    cost: float
    plain_N: Bools
    overall_N: Bools  # real samples to judge by
    lacking: Mapping[str, Bools]  # those of each thing that is lacking


@dataclass(frozen=True)
class Gain:
    """By how much of the held-out log-loss an action beats plain labels, per unit of cost."""

    value: float
    error: float  # standard error
    cost: float  # of what was compared


@dataclass(frozen=True)
class _Match:
    """Rows of both sides of equal cost."""

    cost: float
    brought: IntArray
    plain: IntArray


def gains(
    labels: Labels, bought: Sequence[Bought], outputs: int, loss: Loss, seed: int
) -> list[dict[str, Gain]]:
    """Measure all actions, for each thing that is lacking; what has too few samples is left out."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, Gain]] = [{} for _ in bought]
    matches = [(row, _match(labels, each, rng)) for row, each in enumerate(bought)]
    pairs = [(row, match) for row, match in matches if match is not None]
    if not pairs:
        return found
    weights_MN = np.concatenate([_weights(labels, match) for _, match in pairs])
    logits_MNC = fit_alike(labels.x_ND, labels.targets, weights_MN, outputs, loss)
    losses_MN = loss(torch.from_numpy(logits_MNC), torch.from_numpy(labels.targets)).numpy()
    rows_N = np.arange(len(labels.folds_N))
    for first, (row, match) in enumerate(pairs):
        heads_N = 2 * (FOLDS * first + labels.folds_N)
        gain_N = losses_MN[heads_N, rows_N] - losses_MN[heads_N + 1, rows_N]
        found[row] = _by_lack(bought[row], gain_N, match.cost)
    return found


def _match(labels: Labels, bought: Bought, rng: np.random.Generator) -> _Match | None:
    """Find what both sides can match of each other's cost; None if that is too little."""
    brought = rng.permutation(np.flatnonzero(bought.brought_N))
    plain = rng.permutation(np.flatnonzero(bought.plain_N))
    costs = np.cumsum(labels.cost_N[plain])
    if len(plain) < FEWEST or not bought.cost or not costs[-1]:
        return None
    cost = min(bought.cost, float(costs[-1]))
    plain = plain[: np.searchsorted(costs, cost * (1 - 1e-9)) + 1]
    return _Match(cost, brought[: round(len(brought) * cost / bought.cost)], plain)


def _weights(labels: Labels, match: _Match) -> FloatArray:
    """Return what teaches the heads MN: for each fold, with plain labels, with the action's.

    Where some of the action's samples may not teach, the same share of plain ones is left out.
    """
    others_N = np.ones(len(labels.targets), bool)
    others_N[match.brought] = others_N[match.plain] = False
    sides = (match.plain, match.brought)
    weights = []
    for taught_N in labels.taught_NF.T:
        kept = [rows[taught_N[rows]] for rows in sides]
        share = min(map(_share, kept, sides))
        for own, rows in zip(kept, sides, strict=True):
            teaches_N = others_N & taught_N
            teaches_N[own[: round(share * len(rows))]] = True
            weights.append(_balanced(labels, teaches_N))
    return np.stack(weights)


def _share(kept: IntArray, rows: IntArray) -> float:
    return len(kept) / len(rows) if len(rows) else 1.0


def _balanced(labels: Labels, teaches_N: Bools) -> FloatArray:
    weights_N = np.zeros(len(teaches_N), np.float32)
    weights_N[teaches_N] = balanced(labels.weights_N[teaches_N], labels.strata_N[teaches_N])
    return weights_N


def _by_lack(bought: Bought, gain_N: FloatArray, cost: float) -> dict[str, Gain]:
    """Sum up the gain: half by all samples, half by those of what is lacking."""
    found = {}
    for name, lacking_N in bought.lacking.items():
        if lacking_N.sum() >= FEWEST:
            weights_N = bought.overall_N / bought.overall_N.sum() + lacking_N / lacking_N.sum()
            value = float(weights_N @ gain_N) / 2
            error = float(np.sqrt(weights_N**2 @ (gain_N - value) ** 2)) / 2
            found[name] = Gain(value / cost, NOISE * error / cost, cost)
    return found
