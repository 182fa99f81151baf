"""Which selection strategy finds the most samples of a rare class?

    python -m benchmarks.rare [--quick] [--check] [--repeats 5]

Real sets (benchmarks/sets.py) with one class reduced to 1.5 % of the pool, and the SMS messages
unchanged, of which 13 % are spam. All strategies start with the same 50 random labels and buy 20 at
a time with the same tuned probe (benchmarks/probe.py), out of the 1,000 least certain ones, as the
product does. Figures are shares of the pool's rare samples that were bought with 400 labels. The
tables also list the recall of the rare class and the accuracy on a test set at the end, and the
mean recall over the campaign. The last figures compare means, with one value per set.

Suffixes: N samples, P samples of the pool, F of them free, L labeled, T in the test, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import Split, fit, scaled, tune
from benchmarks.sets import load
from benchmarks.strategies import PER_LABEL, IntArray, informativeness
from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import Candidates, select

SHARE = 0.015  # of the pool, where a class is made rare
FIRST, BATCH, LABELS = 50, 20, 400
RARE = {"digits/strokes": 8, "letters/fonts": 6, "land/satellite": 3, "spam/sms": 1}
AS_IT_IS = ("spam/sms",)
DEFAULT = SelectionConfig().strategy
STRATEGIES = ("random", "cluster", DEFAULT, "rare")


@dataclass(frozen=True)
class Outcome:
    """The result of one campaign."""

    share: float  # of the pool's rare samples that were bought
    recall: float  # of the rare class in the test, at the end
    mean_recall: float
    accuracy: float


def run(options: Options) -> Report:
    """Run every strategy on every set and seed."""
    sets = ["digits/strokes", "spam/sms"] if options.quick else list(RARE)
    labels = 150 if options.quick else LABELS
    results = {
        name: {
            strategy: [play(name, strategy, seed, labels) for seed in range(options.repeats)]
            for strategy in STRATEGIES
        }
        for name in sets
    }
    figures = {
        f"{strategy}_{name.split('/')[1]}": Figure("of the rare", [each.share for each in seeds])
        for name, strategies in results.items()
        for strategy, seeds in strategies.items()
    }
    for other in ("random", "cluster"):
        ratios = [
            _mean(strategies["rare"], "share") / _mean(strategies[other], "share")
            for strategies in results.values()
        ]
        figures[f"rare_over_{other}"] = Figure("times as many", ratios)
    workload = {"labels": labels, "batch": BATCH, "sets": len(sets), "seeds": options.repeats}
    return Report(
        workload, figures, tables=[table(name, strategies) for name, strategies in results.items()]
    )


def thinned(name: str, seed: int) -> tuple[Split, int]:
    """Draw a pool and a test set; only a few samples of the rare class stay in the pool."""
    split, rare = Split.of(scaled(load(name)), seed), RARE[name]
    if name in AS_IT_IS:
        return split, rare
    is_rare_P = split.data.labels_N[split.pool_P] == rare
    keep = round(SHARE * (~is_rare_P).sum() / (1 - SHARE))
    drop = np.random.default_rng(seed).permutation(np.flatnonzero(is_rare_P))[keep:]
    return Split(split.data, np.delete(split.pool_P, drop), split.test_T), rare


def play(name: str, strategy: str, seed: int, labels: int) -> Outcome:
    """Run one campaign."""
    split, rare = thinned(name, seed)
    x_PD, y_P = split.data.features_ND[split.pool_P], split.data.labels_N[split.pool_P]
    labeled = np.random.default_rng([seed, 1]).permutation(len(y_P))[:FIRST]
    penalty, recalls = tune(x_PD[labeled], y_P[labeled]), []
    while True:
        model = fit(x_PD[labeled], y_P[labeled], penalty)
        recall, accuracy = _measure(
            model.predict(split.data.features_ND[split.test_T]), split, rare
        )
        recalls.append(recall)
        if len(labeled) + BATCH > labels:
            break
        free_F = np.setdiff1d(np.arange(len(y_P)), labeled)
        probs = model.predict_proba(x_PD[free_F]).astype(np.float32)
        rows = _choose(strategy, x_PD, y_P, labeled, free_F, informativeness(probs), seed)
        labeled = np.concatenate([labeled, rows])
    bought = (y_P[labeled] == rare).sum() / (y_P == rare).sum()
    return Outcome(float(bought), recall, float(np.mean(recalls)), accuracy)


def _choose(
    strategy: str,
    x_PD: np.ndarray,
    y_P: IntArray,
    labeled: IntArray,
    free_F: IntArray,
    margin_F: np.ndarray,
    seed: int,
) -> IntArray:
    size = len(free_F) if strategy == "random" else PER_LABEL * BATCH
    best = top_m(margin_F, free_F, size)
    rows = free_F[best]
    picks = select(
        strategy,
        Candidates(rows, margin_F[best], x_PD[rows]),
        BATCH,
        seed=seed * 1000 + len(labeled),
        labeled_embeddings=x_PD[labeled],
        labeled_answers=y_P[labeled],
    )
    chosen: IntArray = rows[picks]
    return chosen


def _measure(predicted_T: IntArray, split: Split, rare: int) -> tuple[float, float]:
    truth_T = split.data.labels_N[split.test_T]
    right_T = predicted_T == truth_T
    return float(right_T[truth_T == rare].mean()), float(right_T.mean())


def table(name: str, strategies: dict[str, list[Outcome]]) -> Table:
    """Return a table of the strategies on a set, with means over the seeds."""
    how = "as it is" if name in AS_IT_IS else f"one class kept at {SHARE:.1%}"
    out = Table(title=f"{name}, {how}", title_justify="left")
    for column in ("strategy", "rare bought", "recall", "mean recall", "accuracy"):
        out.add_column(column, justify="left" if column == "strategy" else "right")
    for strategy, seeds in strategies.items():
        names = ("share", "recall", "mean_recall", "accuracy")
        out.add_row(strategy, *(f"{_mean(seeds, each):.3f}" for each in names))
    return out


def _mean(seeds: Sequence[Outcome], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in seeds]))


if __name__ == "__main__":
    main("rare", __doc__, run, repeats=5)
