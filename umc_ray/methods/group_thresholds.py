"""Thresholds by group, after training: of two classes, odds that differ less between groups.

The threshold of a group is where its true and false positive rates are nearest to those of all
samples by the common threshold. It is shrunk to that one: few samples say little of a group.

Source: Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning; here without
random decisions, and shrunk.

Suffixes: N samples, T thresholds.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SHRINKAGE = 30.0
"""Samples of its rarer class with which a group's threshold is halfway to the common one."""

LEAST = 10
"""Samples of a class that a group must have; with fewer it keeps the common threshold."""


def group_shift(log_odds_N: Floats, positive_N: Bools, weights_N: Floats, own_N: Bools) -> float:
    """Return what is to be added to the log-odds of a group's samples; 0: its odds stay.

    Args:
        log_odds_N: of held-out predictions of all samples; above 0, the second class is predicted.
        positive_N: whether it is right.
        weights_N: what each sample counts for.
        own_N: which are of the group.
    """
    cases = min(_effective(weights_N[own_N & side_N]) for side_N in (positive_N, ~positive_N))
    if cases < LEAST:
        return 0.0
    common = [_rate(log_odds_N > 0, weights_N, side_N) for side_N in (positive_N, ~positive_N)]
    order = np.argsort(log_odds_N[own_N])
    values_N = log_odds_N[own_N][order]
    thresholds_T = np.concatenate([[0.0], (values_N[1:] + values_N[:-1]) / 2])
    distance_T = np.zeros(len(thresholds_T))
    for side_N, rate in zip((positive_N, ~positive_N), common, strict=True):
        weight_N = (weights_N * side_N)[own_N][order]
        below_N = np.concatenate([[0.0], np.cumsum(weight_N)]) / weight_N.sum()
        rates_T = 1 - below_N[np.searchsorted(values_N, thresholds_T, side="right")]
        distance_T += (rates_T - rate) ** 2
    best = np.lexsort((np.abs(thresholds_T), distance_T))[0]
    return float(-thresholds_T[best] * cases / (cases + SHRINKAGE))


def _rate(predicted_N: Bools, weights_N: Floats, side_N: Bools) -> float:
    return float((weights_N * predicted_N)[side_N].sum() / weights_N[side_N].sum())


def _effective(weights_N: Floats) -> float:
    """Return how many samples of equal weight say as much.

    Source: Kish 1965, Survey Sampling.
    """
    return float(weights_N.sum() ** 2 / np.square(weights_N).sum()) if len(weights_N) else 0.0
