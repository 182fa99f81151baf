"""One label per item from the votes of several people, and how far these people can be trusted.

Suffixes: M votes, N items, C classes, A annotators.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError
from umc_ray.methods.identity import uniform

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
SMOOTHING = 0.01  # votes that everybody is taken to have given beside the real ones
MAX_STEPS = 200
TOLERANCE = 1e-6  # in probability: the last step changed no item by more


@dataclass(frozen=True)
class Consensus:
    """The items that got votes, in ascending order, and what the votes say.

    `agreement_N` is the share of the winning class, 0 to 1; `soft_NC` the share of every class.
    """

    item_N: npt.NDArray[np.int64]
    label_N: npt.NDArray[np.int64]
    agreement_N: Floats
    soft_NC: Floats


@dataclass(frozen=True)
class Crowd:
    """A consensus that weighs people by how they vote, and what it thinks of them.

    `confusion_ACC[a, t, v]`: how often annotator a votes v where t is true; `accuracy_A` is
    what follows for the classes as they occur. Annotators are in ascending order.
    """

    consensus: Consensus
    annotator_A: npt.NDArray[np.int64]
    accuracy_A: Floats
    confusion_ACC: Floats


def majority(item_M: Ints, annotator_M: Ints, label_M: Ints, n_classes: int) -> Consensus:
    """Give each item the class with most votes; of tied ones its number draws one.

    One person has one vote per item: the last one given, in the order of the arrays.

    Raises:
        DataError: arrays of different length, or a label outside the classes.
    """
    item_M, _, label_M = _counting_votes(item_M, annotator_M, label_M, n_classes)
    item_N, row_M = np.unique(item_M, return_inverse=True)
    counts_NC = _counts(row_M, label_M, (len(item_N), n_classes))
    shares_NC = counts_NC / counts_NC.sum(1, keepdims=True)
    return replace(_consensus(item_N, shares_NC), label_N=_drawn(item_N, shares_NC))


def is_tied(shares_NC: Floats) -> npt.NDArray[np.bool_]:
    """Return which items have several classes with the largest share."""
    tied_N: npt.NDArray[np.bool_] = (shares_NC == shares_NC.max(1, keepdims=True)).sum(1) > 1
    return tied_N


def one_rate(
    item_M: Ints,
    annotator_M: Ints,
    label_M: Ints,
    n_classes: int,
    prior_NC: Floats | None = None,
) -> Consensus:
    """Take all people to be right at one rate, which follows from how often two of them agree.

    `agreement_N` and `soft_NC` are probabilities, from votes and `prior_NC`, such as a model's, for
    the items in ascending order; none: all classes alike. Where votes are few, what is assumed of
    each person by himself is a guess, and this is not.

    Raises:
        DataError: arrays of different length, or a label outside the classes.

    Source: Dawid and Skene 1979 with one coin for all; its rate by moments, as in Zhang et al.
    2014, Spectral Methods Meet EM.
    """
    item_M, _, label_M = _counting_votes(item_M, annotator_M, label_M, n_classes)
    item_N, row_M = np.unique(item_M, return_inverse=True)
    counts_NC = _counts(row_M, label_M, (len(item_N), n_classes))
    rate = _rate(counts_NC)
    log_NC = counts_NC * (np.log(rate) - np.log((1 - rate) / (n_classes - 1)))
    if prior_NC is not None:
        log_NC = log_NC + np.log(prior_NC + 1e-12)
    return _consensus(item_N, _softmax(log_NC))


def dawid_skene(
    item_M: Ints,
    annotator_M: Ints,
    label_M: Ints,
    n_classes: int,
    one_coin: bool = False,
) -> Crowd:
    """Estimate true labels and each person's confusion matrix from each other.

    `agreement_N` and `soft_NC` of the consensus are probabilities. With `one_coin` a person is
    right at one rate for all classes and errs evenly: better where people gave few votes.

    Raises:
        DataError: arrays of different length, or a label outside the classes.

    Source: Dawid and Skene 1979, Maximum Likelihood Estimation of Observer Error-Rates Using
    the EM Algorithm; one coin: Zhang et al. 2014, Spectral Methods Meet EM.
    """
    item_M, annotator_M, label_M = _counting_votes(item_M, annotator_M, label_M, n_classes)
    item_N, row_M = np.unique(item_M, return_inverse=True)
    annotator_A, person_M = np.unique(annotator_M, return_inverse=True)
    soft_NC = _counts(row_M, label_M, (len(item_N), n_classes))
    soft_NC /= soft_NC.sum(1, keepdims=True)
    for _ in range(MAX_STEPS):
        prior_C = soft_NC.sum(0) / max(len(item_N), 1)
        votes_ACC = np.zeros((len(annotator_A), n_classes, n_classes))
        np.add.at(votes_ACC.swapaxes(1, 2), (person_M, label_M), soft_NC[row_M])
        confusion_ACC = _one_coin(votes_ACC) if one_coin else _confusion(votes_ACC)
        log_NC = np.broadcast_to(np.log(prior_C + 1e-300), soft_NC.shape).copy()
        np.add.at(log_NC, row_M, np.log(confusion_ACC)[person_M, :, label_M])
        before_NC, soft_NC = soft_NC, _softmax(log_NC)
        if np.abs(soft_NC - before_NC).max(initial=0.0) < TOLERANCE:
            break
    accuracy_A = np.einsum("acc,c->a", confusion_ACC, prior_C)
    people_A = annotator_A.astype(np.int64)
    return Crowd(_consensus(item_N, soft_NC), people_A, accuracy_A, confusion_ACC)


def crowdlab(
    item_M: Ints, annotator_M: Ints, label_M: Ints, probs_NC: Floats
) -> tuple[Consensus, Floats]:
    """Weigh votes against each other and against a model; returns the quality 0..1 of each person.

    `probs_NC` are the model's probabilities for the items in ascending order. They must come from
    a model that was not trained on these votes, or the model confirms itself. `soft_NC` gives the
    chosen class its quality and the others the rest as the model splits it. The persons are in
    ascending order.

    Raises:
        DataError: no item has two votes, or arrays do not fit.

    Source: Goh, Tkachenko and Mueller 2022, CROWDLAB: Supervised learning to infer consensus
    labels and quality scores for data with multiple annotators.
    """
    # an extra, umc_ray[crowd], that takes two seconds to import
    from cleanlab.multiannotator import (
        get_label_quality_multiannotator,
    )

    item_M, annotator_M, label_M = _counting_votes(item_M, annotator_M, label_M, probs_NC.shape[1])
    item_N, votes_NA = _table(item_M, annotator_M, label_M)
    if len(item_N) != len(probs_NC):
        raise DataError(f"{len(item_N)} items have votes, {len(probs_NC)} have probabilities")
    if not ((~np.isnan(votes_NA)).sum(1) > 1).any():
        raise DataError("CROWDLAB learns from items with two votes or more, and there is none")
    found = get_label_quality_multiannotator(votes_NA, probs_NC, verbose=False)
    label_N = found["label_quality"]["consensus_label"].to_numpy(np.int64)
    quality_N = found["label_quality"]["consensus_quality_score"].to_numpy(np.float64)
    agreement_N = found["label_quality"]["annotator_agreement"].to_numpy(np.float64)
    rest_NC = probs_NC.astype(np.float64) + 1e-12
    rest_NC[np.arange(len(label_N)), label_N] = 0
    soft_NC = rest_NC / rest_NC.sum(1, keepdims=True) * (1 - quality_N)[:, None]
    soft_NC[np.arange(len(label_N)), label_N] = quality_N
    quality_A = found["annotator_stats"].sort_index()["annotator_quality"].to_numpy(np.float64)
    return Consensus(item_N.astype(np.int64), label_N, agreement_N, soft_NC), quality_A


def krippendorff_alpha(
    item_M: Ints,
    annotator_M: Ints,
    label_M: Ints,
    n_classes: int,
    distance_CC: Floats | None = None,
) -> float:
    """Return how far people agree beyond chance: 1 always, 0 as by chance, below 0 less.

    `distance_CC` says how far apart two labels are, 0 to 1; by default all different labels are
    as far. NaN if no item has two votes, or all votes that could agree are the same: nothing can
    be said.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    distance_CC = 1 - np.eye(n_classes) if distance_CC is None else distance_CC
    item_M, _, label_M = _counting_votes(item_M, annotator_M, label_M, n_classes)
    item_N, row_M = np.unique(item_M, return_inverse=True)
    counts_NC = _counts(row_M, label_M, (len(item_N), n_classes))
    counts_NC = counts_NC[counts_NC.sum(1) > 1]
    votes_N = counts_NC.sum(1)
    total_C = counts_NC.sum(0)
    expected = total_C @ distance_CC @ total_C
    if expected <= 0:
        return float("nan")
    apart_N = (counts_NC @ distance_CC * counts_NC).sum(1)
    observed = (apart_N / (votes_N - 1)).sum()
    return float(1 - observed * (votes_N.sum() - 1) / expected)


def needs_more_votes(
    consensus: Consensus, votes_N: Ints, max_votes: int, confidence: float
) -> npt.NDArray[np.int64]:
    """Return the items worth another vote: below `max_votes`, and no class of that `confidence`."""
    open_N = (votes_N < max_votes) & (consensus.soft_NC.max(1) < confidence)
    items: npt.NDArray[np.int64] = consensus.item_N[open_N]
    return items


def _counting_votes(
    item_M: Ints, annotator_M: Ints, label_M: Ints, n_classes: int
) -> tuple[Ints, Ints, Ints]:
    """Check votes and keep the last one of each person on each item."""
    if not len(item_M) == len(annotator_M) == len(label_M):
        raise DataError(
            f"votes need equal lengths, got {len(item_M)} items, {len(annotator_M)} annotators, "
            f"{len(label_M)} labels"
        )
    if len(label_M) and (label_M.min() < 0 or label_M.max() >= n_classes):
        raise DataError(
            f"labels must be 0 to {n_classes - 1}, found {label_M.min()} to {label_M.max()}"
        )
    last_M = last_votes(item_M, annotator_M)
    return item_M[last_M], annotator_M[last_M], label_M[last_M]


def _counts(row_M: npt.NDArray[np.intp], label_M: Ints, shape: tuple[int, int]) -> Floats:
    counts_NC = np.zeros(shape)
    np.add.at(counts_NC, (row_M, label_M), 1)
    return counts_NC


def _rate(counts_NC: Floats) -> float:
    """Return how often a vote is right, if it is so for all and errors are even."""
    n_classes, votes_N = counts_NC.shape[1], counts_NC.sum(1)
    pairs = (votes_N * (votes_N - 1)).sum()
    same = (counts_NC * (counts_NC - 1)).sum()
    agree = (same + SMOOTHING) / (pairs + SMOOTHING)  # where none can agree, none is known to err
    # Two agree if both are right or both make the same error: Cq^2 - 2q + 1 = (C - 1) agree.
    root = np.sqrt(max(0.0, 1 - n_classes * (1 - (n_classes - 1) * agree)))
    return float(np.clip((1 + root) / n_classes, 1 / n_classes + SMOOTHING, 1 - SMOOTHING))


def _consensus(item_N: Ints, soft_NC: Floats) -> Consensus:
    return Consensus(item_N.astype(np.int64), soft_NC.argmax(1), soft_NC.max(1), soft_NC)


def _drawn(item_N: Ints, shares_NC: Floats) -> npt.NDArray[np.int64]:
    """Return the class with the largest share; equal ones are as likely, whatever their order."""
    is_best_NC = shares_NC == shares_NC.max(1, keepdims=True)
    place_N = np.floor(uniform(item_N.astype(np.int64), 0, "tie") * is_best_NC.sum(1))
    label_N: npt.NDArray[np.int64] = np.argmax(is_best_NC.cumsum(1) > place_N[:, None], axis=1)
    return label_N


def _confusion(votes_ACC: Floats) -> Floats:
    smooth_ACC: Floats = votes_ACC + SMOOTHING
    smooth_ACC /= smooth_ACC.sum(2, keepdims=True)
    return smooth_ACC


def _one_coin(votes_ACC: Floats) -> Floats:
    n_classes = votes_ACC.shape[1]
    right_A = np.einsum("acc->a", votes_ACC) + SMOOTHING
    wrong_A = votes_ACC.sum((1, 2)) + SMOOTHING * n_classes - right_A
    share_A = right_A / (right_A + wrong_A)
    confusion_ACC = np.empty_like(votes_ACC)
    confusion_ACC[:] = ((1 - share_A) / (n_classes - 1))[:, None, None]
    confusion_ACC[:, np.arange(n_classes), np.arange(n_classes)] = share_A[:, None]
    return confusion_ACC


def _softmax(log_NC: Floats) -> Floats:
    weight_NC: Floats = np.exp(log_NC - log_NC.max(1, keepdims=True))
    weight_NC /= weight_NC.sum(1, keepdims=True)
    return weight_NC


def _table(item_M: Ints, annotator_M: Ints, label_M: Ints) -> tuple[Ints, Floats]:
    """Lay votes out as items by annotators, NaN where there is none."""
    item_N, row_M = np.unique(item_M, return_inverse=True)
    annotator_A, person_M = np.unique(annotator_M, return_inverse=True)
    votes_NA = np.full((len(item_N), len(annotator_A)), np.nan)
    votes_NA[row_M, person_M] = label_M
    return item_N, votes_NA


def last_votes(item_M: Ints, annotator_M: Ints) -> npt.NDArray[np.intp]:
    """Return the rows of the last vote of each person on each item."""
    order_M = np.lexsort((annotator_M, item_M))  # stable: equal pairs stay in order of arrival
    changes = (np.diff(item_M[order_M]) != 0) | (np.diff(annotator_M[order_M]) != 0)
    return order_M[np.append(changes, True)] if len(order_M) else order_M
