"""How far quality differs between groups, and how far it would if groups did not matter.

A difference is the largest between two groups, which is never negative: chance alone makes it large
where groups are small. So each comes with a noise floor: its values with groups permuted.

Classes are judged one against the rest, and the difference of the worst class counts. Of two
classes, this is what the usual definitions say.

Source: Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning (equalized
odds); Agarwal et al. 2018, A Reductions Approach to Fair Classification (demographic parity). Two
classes: equal to fairlearn's demographic_parity_difference and equalized_odds_difference.

Suffixes: N samples, G groups, C classes, B replicates, F numbers that are summed for each sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.methods.calibration import reliability_bins
from umc_ray.methods.intervals import REPLICATES, TAILS

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PERMUTATIONS = 200
LEAST_CASES = 10
"""Samples of a class that a group must have, and of the rest, for its rates to be compared."""

Statistic = Callable[[Floats], Floats]
"""From sums BGF over the samples of each group to a difference for each replicate B."""


@dataclass(frozen=True)
class Difference:
    """The largest difference between groups, 0 to 1, with its interval and noise floor."""

    value: float
    low: float
    high: float
    floor_mean: float  # of permuted groups
    floor: float  # that 95 % of permuted groups stay below

    @property
    def is_beyond_chance(self) -> bool:
        """Whether permuted groups would seldom differ as much."""
        return self.value > self.floor


@dataclass(frozen=True)
class Outcomes:
    """What is true and what is predicted of N samples that belong to G groups.

    `truth_NC` and `predicted_NC` have a column for each class, or label of several.
    """

    groups_N: Ints
    truth_NC: Bools
    predicted_NC: Bools
    strata_N: Ints  # the class of each sample; of several labels, one that stands for them


def accuracy_gap(groups_N: Ints, utility_N: Floats) -> Difference | None:
    """Return the largest difference in mean utility; None: fewer than two groups."""
    rows_NF = np.stack([utility_N, np.ones(len(utility_N))], axis=1)
    return _difference(rows_NF, groups_N, np.zeros_like(groups_N), _mean_gap)


def demographic_parity(outcomes: Outcomes) -> Difference | None:
    """Return the largest difference in how often a class is predicted; None: fewer than two groups.

    It is 0 where predictions do not depend on groups, whatever is true.
    """
    predicted_NC = outcomes.predicted_NC.astype(np.float64)
    rows_NF = np.concatenate([predicted_NC, np.ones((len(predicted_NC), 1))], axis=1)
    groups_N = outcomes.groups_N
    return _difference(rows_NF, groups_N, np.zeros_like(groups_N), _mean_gap)


def equalized_odds(outcomes: Outcomes, least: int = LEAST_CASES) -> Difference | None:
    """Return the largest difference in true or false positive rates.

    A rate of fewer than `least` samples is not compared; None: no rate is left to compare. For the
    noise floor, groups are permuted among the samples of each class.
    """
    known_N = outcomes.groups_N >= 0
    if not known_N.any():
        return None
    groups_N, strata_N = outcomes.groups_N[known_N], outcomes.strata_N[known_N]
    truth_NC, predicted_NC = (
        each[known_N].astype(np.float64) for each in (outcomes.truth_NC, outcomes.predicted_NC)
    )
    hits_NC, ones_N1 = truth_NC * predicted_NC, np.ones((len(truth_NC), 1))
    rows_NF = np.concatenate([truth_NC, predicted_NC, hits_NC, ones_N1], axis=1)
    (cases_GC, _, _), sizes_G = _parts(_sums(rows_NF, groups_N)[None])
    enough = [each[0] >= max(least, 1) for each in (cases_GC, sizes_G - cases_GC)]
    if not any((each.sum(axis=0) >= 2).any() for each in enough):
        return None
    return _difference(rows_NF, groups_N, strata_N, lambda sums: _odds_gap(sums, *enough))


def _mean_gap(sums_BGF: Floats) -> Floats:
    """Return the largest difference of means; the last column counts samples."""
    means_BGC = sums_BGF[..., :-1] / sums_BGF[..., -1:]
    return _largest(means_BGC)


def _odds_gap(sums_BGF: Floats, positives_GC: Bools, negatives_GC: Bools) -> Floats:
    (truth, predicted, hits), sizes = _parts(sums_BGF)
    with np.errstate(divide="ignore", invalid="ignore"):  # a replicate may have no such sample
        true_positive = np.where(positives_GC, hits / truth, np.nan)
        false_positive = np.where(negatives_GC, (predicted - hits) / (sizes - truth), np.nan)
    return np.fmax(_largest(true_positive), _largest(false_positive))


def _parts(sums_BGF: Floats) -> tuple[list[Floats], Floats]:
    """Return sums BGC of truth, predictions and hits, and sizes BG1."""
    return np.split(sums_BGF[..., :-1], 3, axis=-1), sums_BGF[..., -1:]


def _largest(rates_BGC: Floats) -> Floats:
    """Return the largest difference between groups of any class; what is NaN does not count."""
    high_BC, low_BC = (fold.reduce(rates_BGC, axis=1) for fold in (np.fmax, np.fmin))
    largest_B: Floats = np.fmax.reduce(high_BC - low_BC, axis=1)
    return largest_B


def _difference(
    rows_NF: Floats, groups_N: Ints, strata_N: Ints, statistic: Statistic
) -> Difference | None:
    """Return a statistic of groups, its interval, and what it is of permuted groups.

    The same samples always give the same numbers.
    """
    known_N = groups_N >= 0
    rows_NF, groups_N, strata_N = rows_NF[known_N], groups_N[known_N], strata_N[known_N]
    if len(np.unique(groups_N)) < 2:
        return None
    rng = np.random.default_rng(0)
    value = float(statistic(_sums(rows_NF, groups_N)[None])[0])
    low, high = _interval(value, statistic(_resampled(rows_NF, groups_N, rng)))
    strata = [np.flatnonzero(strata_N == stratum) for stratum in np.unique(strata_N)]
    permuted = [_sums(rows_NF, permute(groups_N, strata, rng)) for _ in range(PERMUTATIONS)]
    floor_B = statistic(np.stack(permuted))
    return Difference(
        value=value,
        low=low,
        high=high,
        floor_mean=float(np.nanmean(floor_B)),
        floor=float(np.nanquantile(floor_B, 0.95)),
    )


def _interval(value: float, again_B: Floats) -> tuple[float, float]:
    """Return the basic bootstrap interval of a figure that noise makes larger, 0 to 1.

    Resamples have more noise and so are larger still; the interval is moved back by that.
    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application.
    """
    high, low = 2 * value - np.nanquantile(again_B, TAILS)
    return float(np.clip(low, 0, value)), float(np.clip(high, value, 1))


def _sums(rows_NF: Floats, groups_N: Ints) -> Floats:
    """Sum the rows of each group, from 0 to the largest."""
    one_hot_NG = np.eye(groups_N.max() + 1)[groups_N]
    sums_GF: Floats = one_hot_NG.T @ rows_NF
    return sums_GF


def _resampled(rows_NF: Floats, groups_N: Ints, rng: np.random.Generator) -> Floats:
    """Draw the samples of each group anew, B times; returns their sums BGF."""
    sums = []
    for group in range(groups_N.max() + 1):
        own_NF = rows_NF[groups_N == group]
        distinct_UF, counts_U = np.unique(own_NF, axis=0, return_counts=True)
        drawn_BU = rng.multinomial(len(own_NF), counts_U / len(own_NF), size=REPLICATES)
        sums.append(drawn_BU @ distinct_UF)
    return np.stack(sums, axis=1)


def permute(groups_N: Ints, strata: Sequence[Ints], rng: np.random.Generator) -> Ints:
    """Deal the groups of each stratum's samples, whose rows are given, out among them anew."""
    permuted_N = groups_N.copy()
    for rows in strata:
        permuted_N[rows] = rng.permutation(groups_N[rows])
    return permuted_N


def representation_gap(labeled_G: Ints, pool_G: Ints) -> Difference | None:
    """Return the largest difference between a group's share of the labels and of the pool.

    None: there are fewer than two groups, or no labels. The noise floor is that of labels drawn at
    random from the pool.
    """
    labels, pool_share_G = int(labeled_G.sum()), pool_G / pool_G.sum()
    if len(pool_G) < 2 or not labels:
        return None
    rng = np.random.default_rng(0)
    share_G = labeled_G / labels
    value = float(np.abs(share_G - pool_share_G).max())
    again_BG = rng.multinomial(labels, share_G, size=REPLICATES) / labels
    low, high = _interval(value, np.abs(again_BG - pool_share_G).max(axis=1))
    drawn_BG = rng.multivariate_hypergeometric(pool_G, labels, REPLICATES, method="marginals")
    floor_B = np.abs(drawn_BG / labels - pool_share_G).max(axis=1)
    return Difference(
        value=value,
        low=low,
        high=high,
        floor_mean=float(floor_B.mean()),
        floor=float(np.quantile(floor_B, 0.95)),
    )


def calibration_error(certainty_N: Floats, right_N: Bools) -> tuple[float, float, float]:
    """Return the expected calibration error of one group's samples with its interval."""
    bins_N = reliability_bins(certainty_N)
    gap_N = right_N - certainty_N
    rng, n = np.random.default_rng(0), len(gap_N)

    def error(rows: Ints) -> float:
        return float(np.abs(np.bincount(bins_N[rows], gap_N[rows])).sum() / n)

    value = error(np.arange(n))
    again_B = np.array([error(rng.integers(n, size=n)) for _ in range(PERMUTATIONS)])
    return value, *_interval(value, again_B)
