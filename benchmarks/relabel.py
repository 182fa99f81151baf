"""Is another vote on a labeled sample worth more than a vote on a new one?

    python -m benchmarks.relabel [--quick] [--check] [--repeats 5]

Recorded ratings of the four sentiment domains, as in benchmarks/consensus.py. All methods spend the
same number of votes per round and train on the majority of each text's votes, weighted by
agreement: one vote per text, three votes per text, or the lowest ActiveLab scores (Goh and Mueller
2023, cleanlab) among labeled and new texts, with held-out predictions for the labeled ones. The
first two draw new texts at random. Because ActiveLab ranks texts, another method ranks new texts by
their margin. Accuracy is measured against the mean of all ratings, on other texts, after the last
vote.

Suffixes: N texts, A people, L labeled, F free, C classes.
"""

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from benchmarks.consensus import (
    FOLDS,
    MOST,
    Floats,
    Ints,
    Rated,
    draw_people,
    given_votes,
    read_ratings,
)
from benchmarks.frame import Figure, Options, Report, main
from umc_ray.demo.sentiment import LABELS
from umc_ray.methods.consensus import majority
from umc_ray.specialists.training import MIN_AGREEMENT

POOL, TEST = 4000, 4000
ROUNDS, VOTES, QUICK_ROUNDS = 10, 200, 4

Choose = Callable[["Crowd", np.random.Generator], Ints]


class Crowd:
    """The votes so far, and a model trained on them."""

    def __init__(self, rated: Rated, rng: np.random.Generator) -> None:
        """Split the texts into a test set and a pool; only the pool gets votes."""
        self.rated = rated
        order_N = rng.permutation(len(rated.truth_N))
        self.test_N, self.pool_N = order_N[:TEST], order_N[TEST : TEST + POOL]
        self.asked_N = np.zeros(len(order_N), np.int64)
        self.model = LogisticRegression(max_iter=1000)

    @property
    def labeled_L(self) -> Ints:
        """The texts with a vote."""
        return np.flatnonzero(self.asked_N)

    @property
    def free_F(self) -> Ints:
        """The texts of the pool without a vote."""
        free_F: Ints = self.pool_N[self.asked_N[self.pool_N] == 0]
        return free_F

    def learn(self) -> None:
        """Train on the majority of all votes so far."""
        known = majority(*given_votes(self.rated, self.asked_N), len(LABELS))
        self.known_L, self.label_L = known.item_N, known.label_N
        self.weight_L = np.maximum(known.agreement_N, MIN_AGREEMENT)
        self.model.fit(self.rated.features_ND[known.item_N], known.label_N, self.weight_L)

    def accuracy(self) -> float:
        """Return the accuracy on the test set, against the mean of all ratings."""
        predicted_N = self.model.predict(self.rated.features_ND[self.test_N])
        return float((predicted_N == self.rated.truth_N[self.test_N]).mean())


def one_each(crowd: Crowd, rng: np.random.Generator) -> Ints:
    """Request one vote on each of some new texts."""
    return rng.permutation(crowd.free_F)[:VOTES]


def three_each(crowd: Crowd, rng: np.random.Generator) -> Ints:
    """Request three votes on each of fewer new texts."""
    return np.repeat(rng.permutation(crowd.free_F)[: VOTES // 3], 3)


def hard_ones(crowd: Crowd, rng: np.random.Generator) -> Ints:
    """Request one vote on each of the new texts with the smallest margins."""
    probs_FC = crowd.model.predict_proba(crowd.rated.features_ND[crowd.free_F])
    return crowd.free_F[np.argsort(np.abs(probs_FC[:, 0] - 0.5))[:VOTES]]


def active_lab(crowd: Crowd, rng: np.random.Generator) -> Ints:
    """Request one vote on each of the texts with the lowest ActiveLab scores."""
    from cleanlab.multiannotator import get_active_learning_scores  # the extra `crowd`

    x_ND, known_L, free_F = crowd.rated.features_ND, crowd.known_L, crowd.free_F
    votes_LA = np.full((len(known_L), MOST), np.nan)
    rows, _, labels = given_votes(crowd.rated, crowd.asked_N)
    place = np.searchsorted(known_L, rows)
    column = np.arange(len(rows)) - np.searchsorted(rows, rows)
    votes_LA[place, column] = labels
    used = ~np.isnan(votes_LA).all(0)
    held_out_LC = cross_val_predict(
        crowd.model, x_ND[known_L], crowd.label_L, cv=FOLDS, method="predict_proba"
    )
    scores_L, scores_F = get_active_learning_scores(
        votes_LA[:, used], held_out_LC, crowd.model.predict_proba(x_ND[free_F])
    )
    more_L = crowd.asked_N[known_L] < MOST
    texts = np.concatenate([known_L[more_L], free_F])
    scores: Floats = np.concatenate([scores_L[more_L], scores_F])
    return texts[np.argsort(scores, kind="stable")[:VOTES]]


METHODS: dict[str, Choose] = {
    "one_vote": one_each,
    "three_votes": three_each,
    "one_vote_by_margin": hard_ones,
    "activelab": active_lab,
}


def run(options: Options) -> Report:
    """Spend the same number of votes with each method."""
    texts, ratings, features_ND = read_ratings(None)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    results: dict[str, list[float]] = {}
    for seed in range(options.repeats):
        rated = draw_people(ratings, features_ND, np.random.default_rng(seed))
        for name, choose in METHODS.items():
            accuracy, again = _play(rated, choose, rounds, seed)
            results.setdefault(name, []).append(accuracy)
            results.setdefault(f"{name}_again", []).append(again)
    return Report(
        workload={"texts": texts, "votes": rounds * VOTES, "seeds": options.repeats},
        figures={
            name: Figure("of votes" if name.endswith("_again") else "accuracy", values)
            for name, values in results.items()
        },
    )


def _play(rated: Rated, choose: Choose, rounds: int, seed: int) -> tuple[float, float]:
    """Return the final accuracy, and the share of votes on texts that already had one."""
    rng = np.random.default_rng(seed)
    crowd = Crowd(rated, rng)
    for number in range(rounds):
        picked = (choose if number or choose is three_each else one_each)(crowd, rng)
        np.add.at(crowd.asked_N, picked, 1)
        crowd.learn()
    return crowd.accuracy(), 1 - len(crowd.labeled_L) / int(crowd.asked_N.sum())


if __name__ == "__main__":
    main("relabel", __doc__, run, repeats=5)
