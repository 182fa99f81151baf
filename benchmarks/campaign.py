"""What does a campaign save over nine domains whose labels differ in cost?

    python -m benchmarks.campaign [--quick] [--check] [--repeats 5]

One campaign with four sentiment domains, two of digits, and topics, questions and spam, each with
its own tuned probe (benchmarks/probe.py). As in the product, the specialist of a domain also trains
on the other domains of its task with a lower weight; here those are the sentiment domains. Compares
the product's selection with its bandit (objectives macro and worst), and each of them alone, with
random samples and an even split. Accuracy is compared at equal spending; the control spends its
whole budget. Figures are paired by seed.

Suffixes: A arms (domains), R rounds, L labeled, P samples of a pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import PENALTIES, Split, accuracies, fit, scaled, tune
from benchmarks.sets import LabeledSet, load
from benchmarks.strategies import STRATEGIES, IntArray, State
from umc_ray.config.campaign import AllocationConfig, SelectionConfig, TrainingConfig
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext, BanditState, Reward, observe, shares, update

COSTS = {
    "amazon": 1.0,
    "movies": 1.0,
    "news": 2.0,
    "tweets": 0.5,
    "digits/scans": 0.5,
    "digits/strokes": 0.5,
    "topics/newsgroups": 4.0,
    "questions/trec": 2.0,
    "spam/sms": 1.0,
}
SENTIMENT_DOMAINS = (
    "amazon",
    "movies",
    "news",
    "tweets",
)  # groups of sentiment/four, in order
LABELS = 20  # per round and domain
ROUNDS = 15
DEFAULT = SelectionConfig().strategy
POLICY = AllocationConfig().policy
FLOOR = AllocationConfig().floor
OUTSIDE = TrainingConfig().outside_weight
PLAYERS = {
    "control": ("random", "uniform", "macro"),
    "selection": (DEFAULT, "uniform", "macro"),
    "allocation": ("random", POLICY, "macro"),
    "macro": (DEFAULT, POLICY, "macro"),
    "worst": (DEFAULT, POLICY, "worst"),
}


@dataclass
class Learner:
    """The labels and the probe of one domain; `siblings` are the other domains of its task."""

    name: str
    split: Split
    siblings: "Sequence[Learner]" = ()
    labeled: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    model: Any = None
    penalty: float = PENALTIES[0]
    tuned: int = 0

    def __post_init__(self) -> None:
        """Extract the pool."""
        self.x_PD = self.split.data.features_ND[self.split.pool_P]
        self.y_P = self.split.data.answers_N[self.split.pool_P]

    def context(self) -> ArmContext:
        """Return the state of the arm as a campaign without audits sees it."""
        uncertainty = None
        if self.model is not None:
            uncertainty = float(1 - self.model.predict_proba(self.x_PD).max(1).mean())
        n = len(self.x_PD)
        cost = COSTS[self.name]
        return ArmContext(self.name, uncertainty, n - len(self.labeled), n, cost, None)

    def buy(self, strategy: str, labels: int, seed: int) -> Reward:
        """Buy a batch; returns how often the probe was wrong about it."""
        if not labels:
            return Reward(self.name, 0, 0)
        free = np.setdiff1d(np.arange(len(self.x_PD)), self.labeled)
        probs_FC, reward = None, Reward(self.name, 0, 0)
        if self.model is not None:
            probs_FC = self.model.predict_proba(self.x_PD[free]).astype(np.float32)
        known = (self.labeled, self.y_P[self.labeled], free)
        bought = STRATEGIES[strategy](State(self.x_PD, *known, probs_FC, self.model, labels, seed))
        if self.model is not None:
            wrong = self.model.predict(self.x_PD[bought]) != self.y_P[bought]
            reward = Reward(self.name, int(wrong.sum()), labels)
        self.labeled = np.concatenate([self.labeled, bought])
        return reward

    def learn(self) -> None:
        """Refit the probe on all labels of its task."""
        known = (self, *self.siblings)
        x_LD = np.concatenate([each.x_PD[each.labeled] for each in known])
        y_L = np.concatenate([each.y_P[each.labeled] for each in known])
        weights_L = np.full(len(y_L), OUTSIDE, np.float32)
        weights_L[: len(self.labeled)] = 1
        if len(np.unique(y_L)) < 2:
            return
        if len(self.labeled) >= 3 * self.tuned:
            self.penalty, self.tuned = tune(x_LD, y_L, weights_L), len(self.labeled)
        self.model = fit(x_LD, y_L, self.penalty, weights_L)

    def accuracy(self) -> float:
        """Return the accuracy on the test set; 0 without a probe."""
        return 0.0 if self.model is None else accuracies(self.model, self.split)[0]


@dataclass(frozen=True)
class Played:
    """Cumulative cost and accuracy of each domain after every round."""

    spent_R: npt.NDArray[np.float64]
    accuracy_RA: npt.NDArray[np.float64]

    def macro(self, money: float) -> float:
        """Return the interpolated mean accuracy over domains."""
        return float(np.interp(money, self.spent_R, self.accuracy_RA.mean(1)))

    def worst(self, money: float) -> float:
        """Return the interpolated accuracy of the worst domain."""
        return float(np.interp(money, self.spent_R, self.accuracy_RA.min(1)))


def run(options: Options) -> Report:
    """Run all players with every seed."""
    names = ["amazon", "digits/scans", "spam/sms"] if options.quick else list(COSTS)
    data = {name: _load(name) for name in names}
    money = LABELS * ROUNDS * sum(COSTS[name] for name in names)
    played = {
        player: [play(data, how, money, seed) for seed in range(options.repeats)]
        for player, how in PLAYERS.items()
    }
    workload = {"domains": len(names), "money": money, "labels of the control": LABELS * ROUNDS}
    return Report(workload, figures(played, money))


def _load(name: str) -> LabeledSet:
    if name not in SENTIMENT_DOMAINS:
        return scaled(load(name))
    four = scaled(load("sentiment/four"))
    in_domain = four.groups_N == SENTIMENT_DOMAINS.index(name)
    return LabeledSet(*(values[in_domain] for values in vars(four).values()))


def play(data: dict[str, LabeledSet], how: tuple[str, str, str], money: float, seed: int) -> Played:
    """Run a campaign until the money is spent."""
    strategy, policy, objective = how
    learners = [Learner(name, Split.of(each, seed)) for name, each in data.items()]
    for learner in learners:
        if learner.name in SENTIMENT_DOMAINS:
            learner.siblings = [
                m for m in learners if m.name in SENTIMENT_DOMAINS and m is not learner
            ]
    cost_A = np.array([COSTS[learner.name] for learner in learners])
    state, spent, accuracy = BanditState(seed=seed), [0.0], [[0.0] * len(learners)]
    while spent[-1] < money:
        contexts = [learner.context() for learner in learners]
        state = observe(state, contexts)
        share_A = shares(policy, state, contexts, objective)
        remaining_A = [context.remaining for context in contexts]
        budget = LABELS * len(learners)
        bought_A = allocate(share_A, budget, floor=FLOOR, remaining_A=remaining_A)
        both = zip(learners, bought_A.tolist(), strict=True)
        state = update(state, [each.buy(strategy, labels, seed) for each, labels in both])
        for learner in learners:
            learner.learn()
        spent.append(spent[-1] + float(cost_A @ bought_A))
        accuracy.append([learner.accuracy() for learner in learners])
    return Played(np.array(spent), np.array(accuracy))


def figures(played: Mapping[str, Sequence[Played]], money: float) -> dict[str, Figure]:
    """Return the gains of all players over the control, in percentage points of accuracy."""
    control = played["control"]
    results = {
        "control_macro": Figure("accuracy", [each.macro(money) for each in control]),
        "control_worst": Figure("accuracy", [each.worst(money) for each in control]),
    }
    for player, list_of in played.items():
        if player == "control":
            continue
        pairs = list(zip(list_of, control, strict=True))
        gains = {
            "macro_at_half": [a.macro(money / 2) - b.macro(money) for a, b in pairs],
            "macro": [a.macro(money) - b.macro(money) for a, b in pairs],
            "worst": [a.worst(money) - b.worst(money) for a, b in pairs],
        }
        for name, values in gains.items():
            results[f"{player}_{name}"] = Figure("points", [100 * value for value in values])
    return results


if __name__ == "__main__":
    main("campaign", __doc__, run, repeats=5)
