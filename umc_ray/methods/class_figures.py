"""What accuracy hides: figures of a confusion matrix. Suffixes: C classes, E its cells."""

from typing import Any

import numpy as np
import numpy.typing as npt

from umc_ray.methods.intervals import REPLICATES, TAILS, wilson_interval

Counts = npt.NDArray[np.int64]

Sums = npt.NDArray[np.number[Any]]

Interval = tuple[float, float, float]
"""A figure with its 95 % interval."""


MATTHEWS = "Matthews correlation"
NAMES = ("balanced accuracy", "macro F1", MATTHEWS)
POSITIVE = "F1 of the positive class"


def class_figures(confusion_CC: Counts) -> dict[str, Interval]:
    """Return balanced accuracy, macro F1 and Matthews' correlation with bootstrap intervals.

    Balanced accuracy is the mean recall of the classes that occur, macro F1 the mean F1 of those
    that occur or are predicted. Of two classes, the second is the positive one, with an F1 of its
    own. The same counts always give the same intervals.

    Args:
        confusion_CC: counts of true (rows) by predicted classes; not all are zero.

    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife (percentile interval);
    Gorodkin 2004, Comparing two K-category assignments (Matthews' correlation of any classes).
    """
    cells_E2 = np.argwhere(confusion_CC)  # most cells of many classes are empty
    counts_E, classes = confusion_CC[tuple(cells_E2.T)], len(confusion_CC)
    n, rng = int(counts_E.sum()), np.random.default_rng(0)
    drawn = [rng.multinomial(n, counts_E / n) for _ in range(REPLICATES)]
    found_BF = np.array([_figures(cells_E2, each_E, classes) for each_E in drawn])
    values = _figures(cells_E2, counts_E, classes)
    lows, highs = np.quantile(found_BF, TAILS, axis=0)
    names = (*NAMES, POSITIVE) if classes == 2 else NAMES
    return {
        name: (value, float(min(low, value)), float(max(high, value)))
        for name, value, low, high in zip(names, values, lows, highs, strict=True)
    }


def _figures(cells_E2: Counts, counts_E: Counts, classes: int) -> tuple[float, ...]:
    true_E, predicted_E = cells_E2.T
    right_E = counts_E * (true_E == predicted_E)
    true_C, predicted_C, right_C = (
        np.bincount(of_E, weights_E, classes)
        for of_E, weights_E in ((true_E, counts_E), (predicted_E, counts_E), (true_E, right_E))
    )
    occurs_C, seen_C = true_C > 0, true_C + predicted_C > 0
    recall = right_C[occurs_C] / true_C[occurs_C]
    f1_C = 2 * right_C / np.maximum(true_C + predicted_C, 1)
    found = (recall.mean(), f1_C[seen_C].mean(), _matthews(true_C, predicted_C, right_C))
    return tuple(map(float, (*found, f1_C[1]) if classes == 2 else found))


def _matthews(true_C: Sums, predicted_C: Sums, right_C: Sums) -> float:
    """Return the correlation of true and predicted classes, -1 to 1; 0 if one is constant."""
    n = true_C.sum()
    spread = (n**2 - predicted_C @ predicted_C) * (n**2 - true_C @ true_C)
    return float((right_C.sum() * n - true_C @ predicted_C) / np.sqrt(spread)) if spread > 0 else 0


def recalls(confusion_CC: Counts) -> dict[int, Interval]:
    """Return the share of each class that is found, for the classes that occur."""
    found = {}
    for number, row_C in enumerate(confusion_CC):
        right, n = int(row_C[number]), int(row_C.sum())
        if n:
            found[number] = (right / n, *wilson_interval(right, n))
    return found
