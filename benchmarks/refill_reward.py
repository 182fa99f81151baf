"""Can it be seen whether samples for a gap teach more than other labels that cost as much?

    python -m benchmarks.refill_reward [--quick] [--check] [--repeats 6]

Real sets (benchmarks/sets.py); two classes have 5 of 300 labels each and 1 % or nothing of a pool
of 3,000. 50 labels are bought in each of two rounds: 25 by margin, and 25 for the two classes by an
action. Search: by margin among samples with one of them in the top 2. Copies and mixtures: of their
labeled samples, which people accept. Wrong: half are rejected, the others have wrong labels. Real:
samples of the classes that the pool does not have, what an ideal generator would make.

The truth is the same comparison on 1,500 other samples: heads that learn from the action's samples,
and from as many labels by margin. `right` is the share of runs in which the measured sign is the
true one, where the truth is at least half a point of recall (the mean of all samples and of the two
classes). The rewards: heads with and without the samples on held-out labels (the product's,
methods/with_without.py); and the change of accuracy since the round before on 100 audits, which are
here beside the labels.

Suffixes: N samples, D features, P samples of the pool.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import scaled
from benchmarks.sets import LabeledSet, load
from umc_ray.methods.with_without import FOLDS, Bought, Gain, Labels, gains

GIVEN, EACH, POOL, TEST, THIN, SMALLEST = 300, 5, 3000, 1500, 30, 80
AUDITS, SPENT, ROUNDS = 100, 25, 2
C = 0.03
LEAST = 0.005
SETS = ("digits/strokes", "topics/reuters")
POOLS = {"1 %": THIN, "none": 0}


@dataclass
class Campaign:
    """What is labeled, bought and left in one run. Rows count all samples that there are."""

    data: LabeledSet
    rng: np.random.Generator
    rare: np.ndarray
    test: np.ndarray
    pool: list[int]
    hidden: list[int]
    x: list[np.ndarray] = field(default_factory=list)
    y: list[int] = field(default_factory=list)
    how: list[str] = field(default_factory=list)
    made_from: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, x_D: np.ndarray, label: int, how: str, made_from: tuple[int, ...] = ()) -> None:
        """Label a sample."""
        self.x.append(x_D)
        self.y.append(label)
        self.how.append(how)
        self.made_from.append(made_from)

    def take(self, rows: list[int], how: str) -> None:
        """Label samples of the pool."""
        for row in rows:
            self.add(self.data.features_ND[row], int(self.data.labels_N[row]), how)
        self.pool = [row for row in self.pool if row not in set(rows)]

    def known_rare(self) -> list[int]:
        """Return the real labeled samples of the two classes."""
        return [i for i, y in enumerate(self.y) if self.how[i] != "made" and y in self.rare]


def _search(c: Campaign) -> None:
    near_P = np.asarray(np.isin(_two_likeliest(c), c.rare).any(axis=1))
    order = [row for row in _by_margin(c) if near_P[row]]
    c.take([c.pool[row] for row in order[:SPENT]], "search")


def _copies(c: Campaign) -> None:
    for _ in range(SPENT):
        i = int(c.rng.choice(c.known_rare()))
        c.add(c.x[i] + c.rng.normal(0, 0.1, len(c.x[i])).astype(np.float32), c.y[i], "made", (i,))


def _mixtures(c: Campaign) -> None:
    for _ in range(SPENT):
        i = int(c.rng.choice(c.known_rare()))
        j = int(c.rng.choice([k for k in c.known_rare() if c.y[k] == c.y[i]]))
        share = c.rng.random()
        c.add(share * c.x[i] + (1 - share) * c.x[j], c.y[i], "made", (i, j))


def _wrong(c: Campaign) -> None:
    for row in c.rng.choice(c.pool, SPENT // 2, replace=False).tolist():
        c.add(c.data.features_ND[row], int(c.rng.choice(c.rare)), "made")


def _ideal(c: Campaign) -> None:
    rows, c.hidden = c.hidden[:SPENT], c.hidden[SPENT:]
    for row in rows:
        c.add(c.data.features_ND[row], int(c.data.labels_N[row]), "made")


ACTIONS: Mapping[str, Callable[[Campaign], None]] = {
    "search": _search,
    "copies": _copies,
    "mixtures": _mixtures,
    "wrong": _wrong,
    "real": _ideal,
}


@dataclass(frozen=True)
class Seen:
    """The true gain in log-loss and recall, and what the two rewards say of it."""

    truth: float
    recall: float
    gain: Gain
    audits: float


"""After some rounds."""


def run(options: Options) -> Report:
    """Run all sets, pools and actions."""
    torch.set_num_threads(1)
    names = SETS[:1] if options.quick else SETS
    table, figures, seen = _table(), dict[str, Figure](), list[Seen]()
    for name in names:
        data = scaled(load(name))
        for pool, kept in POOLS.items():
            for action in [each for each in ACTIONS if kept or each != "search"]:
                runs = [_play(data, kept, action, seed) for seed in range(options.repeats)]
                for number in range(ROUNDS):
                    own = [run[number] for run in runs]
                    table.add_row(name, pool, action, str(number + 1), *_cells(own))
                seen += [run[-1] for run in runs]
    clear = [each for each in seen if abs(each.recall) >= LEAST]
    for reward in ("gain", "audits"):
        right = [_sign(each, reward) == np.sign(each.recall) for each in clear]
        figures[f"right_by_{reward}"] = Figure("share of runs", [float(np.mean(right))])
    ratio = np.std([each.gain.value * each.gain.cost - each.truth for each in seen])
    errors = np.mean([each.gain.error * each.gain.cost for each in seen])
    figures["noise"] = Figure("log-loss", [float(ratio)])
    figures["stated_noise"] = Figure("log-loss", [float(errors)])
    points = [100 * each.recall / each.truth for each in clear if abs(each.truth) > 0.01]
    figures["points_per_log_loss"] = Figure("points", [float(np.median(points))])
    return Report({"runs": len(seen), "repeats": options.repeats}, figures, tables=[table])


def _sign(each: Seen, reward: str) -> float:
    return float(np.sign(each.gain.value if reward == "gain" else each.audits))


def _table() -> Table:
    table = Table(title="gain over labels by margin: means over seeds")
    names = (
        "set",
        "pool",
        "action",
        "round",
        "true recall",
        "true log-loss",
        "measured",
        "z",
        "+-",
    )
    for name in (*names, "audits", "+-"):
        table.add_column(name)
    return table


def _cells(own: list[Seen]) -> list[str]:
    measured = [each.gain.value * each.gain.cost for each in own]
    z = np.mean([each.gain.value / each.gain.error for each in own])
    audits = [100 * each.audits for each in own]
    return [
        f"{100 * np.mean([each.recall for each in own]):+.1f}",
        f"{np.mean([each.truth for each in own]):+.3f}",
        *(f"{np.mean(measured):+.3f}", f"{z:+.1f}", f"{np.std(measured):.3f}"),
        *(f"{np.mean(audits):+.1f}", f"{np.std(audits):.1f}"),
    ]


def _play(data: LabeledSet, kept: int, action: str, seed: int) -> list[Seen]:
    campaign, seen = _begin(data, kept, seed), []
    before = _audited(campaign)
    for _ in range(ROUNDS):
        plain = [campaign.pool[row] for row in _by_margin(campaign)[:SPENT]]
        campaign.take(plain, "plain")
        ACTIONS[action](campaign)
        after = _audited(campaign)
        seen.append(Seen(*_truth(campaign), _measured(campaign, seed), after - before))
        before = after
    return seen


def _begin(data: LabeledSet, kept: int, seed: int) -> Campaign:
    rng = np.random.default_rng([seed, 11])
    order = rng.permutation(len(data.labels_N))
    test, rest = order[:TEST], order[TEST : TEST + POOL]
    labels = data.labels_N[rest]
    counts = np.bincount(labels)
    rare = rng.choice(np.flatnonzero(counts >= SMALLEST), 2, replace=False)
    others = rest[~np.isin(labels, rare)]
    own = [rest[labels == label] for label in rare]
    n = GIVEN - 2 * EACH
    pool = np.concatenate([others[n:], *(rows[EACH : EACH + kept] for rows in own)]).tolist()
    hidden = rng.permutation(np.concatenate([rows[EACH + kept :] for rows in own])).tolist()
    campaign = Campaign(data, rng, rare, test, pool, hidden)
    given = np.concatenate([others[:n], *(rows[:EACH] for rows in own)]).tolist()
    for row in given:
        campaign.add(data.features_ND[row], int(data.labels_N[row]), "given")
    return campaign


def _fitted(c: Campaign, teaches_N: np.ndarray | None = None) -> LogisticRegression:
    """Train a balanced probe on what is labeled, or on some of it."""
    rows = np.arange(len(c.y)) if teaches_N is None else np.flatnonzero(teaches_N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=C, class_weight="balanced", max_iter=100)
        return probe.fit(np.array(c.x)[rows], np.array(c.y)[rows])


def _by_margin(c: Campaign) -> list[int]:
    """Return the places in the pool, the least certain first."""
    probs_PC = np.sort(_fitted(c).predict_proba(c.data.features_ND[c.pool]), 1)
    order: list[int] = np.argsort(probs_PC[:, -1] - probs_PC[:, -2]).tolist()
    return order


def _two_likeliest(c: Campaign) -> np.ndarray:
    probe = _fitted(c)
    probs_PC = probe.predict_proba(c.data.features_ND[c.pool])
    return np.asarray(probe.classes_[np.argsort(-probs_PC, 1)[:, :2]])


def _audited(c: Campaign) -> float:
    rows = c.test[:AUDITS]
    return float(_fitted(c).score(c.data.features_ND[rows], c.data.labels_N[rows]))


def _truth(c: Campaign) -> tuple[float, float]:
    """Return the true gain in log-loss and in recall: half of all, half of the two classes."""
    x_ND, y_N = c.data.features_ND[c.test], c.data.labels_N[c.test]
    how, losses, rights = np.array(c.how), [], []
    for left_out in (("search", "made"), ("plain",)):
        probe = _fitted(c, ~np.isin(how, left_out))
        probs_NC = probe.predict_proba(x_ND)
        columns_N = np.searchsorted(probe.classes_, y_N).clip(max=len(probe.classes_) - 1)
        there_N = probe.classes_[columns_N] == y_N
        likelihood_N = np.where(there_N, probs_NC[np.arange(len(y_N)), columns_N], 0)
        losses.append(-np.log(np.maximum(likelihood_N, 1e-6)))
        rights.append(probe.predict(x_ND) == y_N)
    rare_N = np.isin(y_N, c.rare)
    weights_N = 0.5 / len(y_N) + 0.5 * rare_N / rare_N.sum()
    loss, right = losses[0] - losses[1], rights[1].astype(float) - rights[0]
    return float(weights_N @ loss), float(weights_N @ right)


def _measured(c: Campaign, seed: int) -> Gain:
    """Measure an action as the product does, on what is labeled."""
    how, y_N, rng = np.array(c.how), np.array(c.y), np.random.default_rng(seed)
    folds_N = rng.integers(0, FOLDS, len(y_N))
    taught_NF = folds_N[:, None] != np.arange(FOLDS)
    for i, made_from in enumerate(c.made_from):
        if how[i] == "made":
            taught_NF[i] = ~np.isin(np.arange(FOLDS), folds_N[list(made_from)])
    labels = Labels(
        np.array(c.x, np.float32),
        y_N,
        y_N,
        np.ones(len(y_N), np.float32),
        np.ones(len(y_N)),
        folds_N,
        taught_NF,
    )
    real_N, rounds = how != "made", int((how == "plain").sum()) // SPENT
    lacking = {"both": real_N & np.isin(y_N, c.rare)}
    bought = Bought(
        np.isin(how, ("search", "made")), SPENT * rounds, how == "plain", real_N, lacking
    )
    outputs = int(c.data.labels_N.max()) + 1
    return gains(labels, [bought], outputs, _cross_entropy, seed)[0]["both"]


def _cross_entropy(logits_MNC: torch.Tensor, y_N: torch.Tensor) -> torch.Tensor:
    return -torch.log_softmax(logits_MNC, 2)[:, torch.arange(len(y_N)), y_N]


if __name__ == "__main__":
    main("refill_reward", __doc__, run, repeats=6)
