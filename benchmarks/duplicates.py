"""How many labels can be propagated to near-duplicates, how many are wrong, and does it help?

    python -m benchmarks.duplicates [--quick] [--check]

Uses real sets in which exact duplicates are kept once, as in ingest. A probe buys labels with the
product's default strategy. Samples whose cosine similarity to a bought one reaches a threshold get
its label. `taken` counts them per 100 labels; `wrong` is the share with another true label, as the
mean over sets and on the worst set.

`gain` is the effect on accuracy of not buying labels for near-duplicates (mean over the curve).
`trained` is the effect of training on them as well, at the end. Both are in percentage points, over
all sets and seeds.

Suffixes: N samples, P of them in the pool, T in the test, F free, L labeled, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import Split, accuracies, fit, play, scaled, tune
from benchmarks.sets import LabeledSet, load
from benchmarks.strategies import STRATEGIES, Floats, IntArray, State, Strategy
from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.near_duplicates import near_duplicates

SETS = (
    "spam/sms",
    "sentiment/four",
    "digits/scans",
    "topics/newsgroups",
    "topics/reuters",
    "questions/trec",
    "digits/strokes",
    "shapes/animals",
)
QUICK = SETS[:2]
THRESHOLDS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
USED = 0.98  # threshold in the comparison with a campaign that buys all labels
BATCH, BATCHES = 100, 4
DEFAULT: Strategy = STRATEGIES[SelectionConfig().strategy]


@dataclass
class Buyer:
    """Buys with the default strategy; with a threshold, near-duplicates are not bought."""

    raw_PD: Floats
    threshold: float | None
    rows_L: IntArray = field(default_factory=lambda: np.empty(0, np.int64))

    def __call__(self, state: State) -> IntArray:
        """Buy a batch."""
        if self.threshold is not None and len(state.labeled_L):
            state = self.without_near(state, self.threshold)
        bought = DEFAULT(state)
        self.rows_L = np.concatenate([self.rows_L, bought])
        return bought

    def without_near(self, state: State, threshold: float) -> State:
        """Remove the free samples that are near-duplicates of a labeled one."""
        labeled_LD = self.raw_PD[state.labeled_L]
        near = near_duplicates(self.raw_PD[state.free_F], labeled_LD, threshold).rows_M
        open_F = np.setdiff1d(np.arange(len(state.free_F)), near)
        assert state.probs_FC is not None
        return replace(state, free_F=state.free_F[open_F], probs_FC=state.probs_FC[open_F])


@dataclass(frozen=True)
class SetResult:
    """Results for one set and seed: propagated and wrong labels by threshold, and gains."""

    labels: int
    taken: dict[float, int]
    wrong: dict[float, int]
    gain: float
    trained: float


def run(options: Options) -> Report:
    """Run the benchmark on all sets; `repeats` is the number of seeds."""
    results = {}
    for name in QUICK if options.quick else SETS:
        data = unique(load(name))
        results[name] = [play_set(data, seed) for seed in range(options.repeats)]
    return Report(
        {"labels": BATCH * BATCHES, "seeds": options.repeats, "sets": len(results)},
        figures(results),
        tables=[table(results)],
    )


def unique(data: LabeledSet) -> LabeledSet:
    """Keep the first of samples with the same features (the same text), whatever its label."""
    _, first = np.unique(data.features_ND, axis=0, return_index=True)
    rows = np.sort(first)
    return LabeledSet(**{name: values[rows] for name, values in vars(data).items()})


def play_set(data: LabeledSet, seed: int) -> SetResult:
    """Buy labels with and without excluding near-duplicates."""
    split = Split.of(scaled(data), seed)
    raw_PD = data.features_ND[split.pool_P]
    sizes = [min(BATCH, len(raw_PD) // (2 * BATCHES))] * BATCHES
    buying_all, excluding = Buyer(raw_PD, None), Buyer(raw_PD, USED)
    curves = [play(split, buyer, sizes, seed)["accuracy"] for buyer in (buying_all, excluding)]
    y_P, rows_L = data.answers_N[split.pool_P], buying_all.rows_L
    taken, wrong = {}, {}
    for threshold in THRESHOLDS:
        rows_M, labels_M = take(raw_PD, rows_L, y_P, threshold)
        taken[threshold] = len(rows_M)
        wrong[threshold] = int((y_P[rows_M] != labels_M).sum())
    gain = float(np.mean(curves[1]) - np.mean(curves[0]))
    return SetResult(
        len(rows_L), taken, wrong, 100 * gain, 100 * trained(split, raw_PD, excluding.rows_L)
    )


def take(
    raw_PD: Floats, rows_L: IntArray, y_P: IntArray, threshold: float
) -> tuple[IntArray, IntArray]:
    """Return the free rows that get a propagated label, and these labels."""
    free_F = np.setdiff1d(np.arange(len(raw_PD)), rows_L)
    near = near_duplicates(raw_PD[free_F], raw_PD[rows_L], threshold)
    return free_F[near.rows_M], y_P[rows_L[near.nearest_M]]


def trained(split: Split, raw_PD: Floats, rows_L: IntArray) -> float:
    """Return the gain in accuracy from training on near-duplicates as well."""
    x_PD, y_P = split.data.features_ND[split.pool_P], split.data.answers_N[split.pool_P]
    rows_M, labels_M = take(raw_PD, rows_L, y_P, USED)
    penalty = tune(x_PD[rows_L], y_P[rows_L])
    without = fit(x_PD[rows_L], y_P[rows_L], penalty)
    both = np.concatenate([rows_L, rows_M])
    with_them = fit(x_PD[both], np.concatenate([y_P[rows_L], labels_M]), penalty)
    return accuracies(with_them, split)[0] - accuracies(without, split)[0]


def share(seeds: Sequence[SetResult], threshold: float) -> float:
    """Return the share of wrong labels among the propagated ones, over all seeds."""
    taken = sum(each.taken[threshold] for each in seeds)
    return sum(each.wrong[threshold] for each in seeds) / max(taken, 1)


def figures(results: dict[str, list[SetResult]]) -> dict[str, Figure]:
    """Summarize all sets by threshold."""
    out = {}
    for threshold in THRESHOLDS:
        name = f"{1000 * threshold:.0f}"
        taken = [
            100 * sum(e.taken[threshold] for e in seeds) / sum(e.labels for e in seeds)
            for seeds in results.values()
        ]
        wrong = [100 * share(seeds, threshold) for seeds in results.values()]
        out[f"taken_{name}"] = Figure("per 100 labels", [float(np.mean(taken))])
        out[f"wrong_{name}"] = Figure("%", [float(np.mean(wrong))])
        out[f"wrong_worst_{name}"] = Figure("%", [max(wrong)])
    every = [each for seeds in results.values() for each in seeds]
    out["gain"] = Figure("points", [each.gain for each in every])
    out["gain_mean"] = Figure("points", [float(np.mean([each.gain for each in every]))])
    out["trained_mean"] = Figure("points", [float(np.mean([each.trained for each in every]))])
    return out


def table(results: dict[str, list[SetResult]]) -> Table:
    """Return a table of propagated and wrong labels by threshold, and of the gains."""
    shown = Table(title="taken over per 100 labels, and of these wrong; gains in points")
    shown.add_column("set")
    for column in (*map(str, THRESHOLDS), "gain", "trained"):
        shown.add_column(column, justify="right")
    for name, seeds in results.items():
        labels = sum(each.labels for each in seeds)
        cells = [
            f"{100 * sum(e.taken[t] for e in seeds) / labels:.3g}, {share(seeds, t):.1%}"
            for t in THRESHOLDS
        ]
        gains = (np.mean([e.gain for e in seeds]), np.mean([e.trained for e in seeds]))
        shown.add_row(name, *cells, *(f"{each:+.2f}" for each in gains))
    return shown


if __name__ == "__main__":
    main("duplicates", __doc__, run, repeats=2)
