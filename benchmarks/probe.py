"""One campaign of the label efficiency benchmark: a tuned probe is trained on the bought labels.

Every strategy has the same pool, test set and tuning rule: the penalty is chosen by the log-loss of
three-fold cross-validation on the bought labels, again each time these have tripled. The test set
is drawn first and never bought from.

Suffixes: N samples, P of them in the pool, T in the test, L labeled, D features.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.sets import LabeledSet
from benchmarks.strategies import Floats, IntArray, State, Strategy

PENALTIES = (0.003, 0.03, 0.3, 3.0)  # C of the regression
MIN_LIKELIHOOD = 1e-3  # of a class that is not in the training fold
FOLDS = 3
POOL, TEST = 5000, 2000
MOST_LABELS = 2000
MOST_OF_POOL = 0.5
TRANSFER = 300  # labels at which another family of models is trained


@dataclass(frozen=True)
class Protocol:
    """The size of the first batch, and the relative growth by each later one."""

    first: int
    growth: float

    def batches(self, pool: int) -> list[int]:
        """Return the sizes of all batches."""
        sizes = [self.first]
        most = min(MOST_LABELS, int(MOST_OF_POOL * pool))
        while (size := round(self.growth * sum(sizes))) + sum(sizes) <= most:
            sizes.append(size)
        return sizes


@dataclass(frozen=True)
class Split:
    """The pool and the test set of one seed."""

    data: LabeledSet
    pool_P: IntArray
    test_T: IntArray

    @classmethod
    def of(cls, data: LabeledSet, seed: int) -> "Split":
        """Draw the test set, then the pool."""
        order_N = np.random.default_rng(seed).permutation(len(data.labels_N))
        tested = min(TEST, int(0.3 * order_N.size))
        return cls(data, order_N[tested : tested + POOL], order_N[:tested])


def scaled(data: LabeledSet) -> LabeledSet:
    """Center the features and scale all of them by one factor to a mean variance of 1."""
    x_ND = data.features_ND - data.features_ND.mean(0)
    x_ND /= np.sqrt((x_ND**2).mean())
    return LabeledSet(x_ND.astype(np.float32), data.labels_N, data.groups_N, data.answers_N)


def fit(
    x_LD: Floats, y_L: IntArray, penalty: float, weights_L: Floats | None = None
) -> LogisticRegression:
    """Fit the probe; needs labels of at least two classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # converged enough for rankings
        warnings.simplefilter("ignore", UserWarning)  # few samples per class at the start
        return LogisticRegression(C=penalty, max_iter=100).fit(x_LD, y_L, weights_L)


def tune(x_LD: Floats, y_L: IntArray, weights_L: Floats | None = None) -> float:
    """Return the penalty with the lowest held-out log-loss; ties go to the stronger one."""
    weights_L = np.ones(len(y_L), np.float32) if weights_L is None else weights_L
    fold_L = np.random.default_rng(0).permutation(len(y_L)) % FOLDS
    losses = np.zeros(len(PENALTIES))
    for fold in range(FOLDS):
        seen_L = fold_L != fold
        if len(np.unique(y_L[seen_L])) < 2:
            continue
        for i, penalty in enumerate(PENALTIES):
            model = fit(x_LD[seen_L], y_L[seen_L], penalty, weights_L[seen_L])
            hit = y_L[~seen_L][:, None] == model.classes_
            likelihood = (model.predict_proba(x_LD[~seen_L]) * hit).sum(1)
            losses[i] -= weights_L[~seen_L] @ np.log(np.maximum(likelihood, MIN_LIKELIHOOD))
    return PENALTIES[int(losses.argmin())]


def full_accuracy(split: Split) -> float:
    """Return the accuracy with all answers of the pool, tuned on 2,000 of them."""
    x_PD, y_P = split.data.features_ND[split.pool_P], split.data.answers_N[split.pool_P]
    model = fit(x_PD, y_P, tune(x_PD[:2000], y_P[:2000]))
    return accuracies(model, split)[0]


def accuracies(model: Any, split: Split) -> tuple[float, float, float]:  # noqa: ANN401
    """Return test accuracies: over all samples, the mean over groups, the worst group."""
    data, rows_T = split.data, split.test_T
    right_T = model.predict(data.features_ND[rows_T]) == data.labels_N[rows_T]
    groups_T = data.groups_N[rows_T]
    by_group = np.bincount(groups_T, right_T) / np.maximum(np.bincount(groups_T), 1)
    by_group = by_group[np.unique(groups_T)]
    return float(right_T.mean()), float(by_group.mean()), float(by_group.min())


def play(
    split: Split, strategy: Strategy, sizes: Sequence[int], seed: int, behind: int = 0
) -> dict[str, Any]:
    """Run a campaign; returns the curves, the accuracy of another model, and the CPU seconds.

    The strategy sees the newest model, or the one that is `behind` batches older.
    """
    x_PD = split.data.features_ND[split.pool_P]
    y_P = split.data.answers_N[split.pool_P]
    labeled, models = np.empty(0, np.int64), [None] * (behind + 1)
    penalty, tuned = PENALTIES[0], 0
    result: dict[str, Any] = {"labels": [], "accuracy": [], "macro": [], "worst": [], "cpu_s": 0.0}
    for size in sizes:
        model = models[-1 - behind]
        free = np.setdiff1d(np.arange(len(x_PD)), labeled)
        probs = None if model is None else model.predict_proba(x_PD[free]).astype(np.float32)
        state = State(x_PD, labeled, y_P[labeled], free, probs, model, size, seed)
        began = time.process_time()
        labeled = np.concatenate([labeled, strategy(state)])
        result["cpu_s"] += time.process_time() - began
        if len(np.unique(labeled)) != sum(sizes[: len(result["labels"]) + 1]):
            raise RuntimeError(f"need {size} new samples, the strategy returned repeats")
        if len(np.unique(y_P[labeled])) < 2:  # a single class: predict it
            measured = accuracies(_Constant(y_P[labeled][0]), split)
            models.append(models[-1])
        else:
            if len(labeled) >= 3 * tuned:
                penalty, tuned = tune(x_PD[labeled], y_P[labeled]), len(labeled)
            models.append(fit(x_PD[labeled], y_P[labeled], penalty))
            measured = accuracies(models[-1], split)
        result["labels"].append(len(labeled))
        for name, value in zip(("accuracy", "macro", "worst"), measured, strict=True):
            result[name].append(round(value, 4))
        if "transfer" not in result and len(labeled) >= TRANSFER:
            result["transfer"] = _transfer(split, x_PD[labeled], y_P[labeled], seed)
    return result


def _transfer(split: Split, x_LD: Floats, y_L: IntArray, seed: int) -> float:
    """Return the accuracy of trees, a family of models that did not select the labels."""
    trees = ExtraTreesClassifier(100, random_state=seed).fit(x_LD, y_L)
    return round(accuracies(trees, split)[0], 4)


@dataclass(frozen=True)
class _Constant:
    answer: int

    def predict(self, x_ND: npt.NDArray[np.float32]) -> IntArray:
        return np.full(len(x_ND), self.answer)
