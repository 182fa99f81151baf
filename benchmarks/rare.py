"""Which way of selecting finds most of a class that is rare?

    python -m benchmarks.rare [--quick] [--check] [--repeats 5]

Real sets (benchmarks/sets.py) of which one class is kept at 1.5 % of the pool, and the messages as
they are, where 13 % are spam. All arms begin with the same 50 labels drawn at random and buy 20 at
a time with the same tuned probe (benchmarks/probe.py), out of the least certain 1,000, as the
product does. Figures are shares of the pool's rare samples that were bought with 400 labels; the
tables also give the recall of the rare class and the accuracy on a test set, both at the end, and
the recall on average over the campaign. The last figures compare means, a value per set.

Suffixes: N samples, P samples of the pool, F of them free, L labeled, T in the test, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.arms import PER_LABEL, IntArray, informativeness
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import Split, fit, scaled, tune
from benchmarks.sets import load
from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import Candidates, select

SHARE = 0.015  # of the pool, where a class is made rare
FIRST, BATCH, LABELS = 50, 20, 400
RARE = {"digits/strokes": 8, "letters/fonts": 6, "land/satellite": 3, "spam/sms": 1}
AS_IT_IS = ("spam/sms",)
DEFAULT = SelectionConfig().strategy
ARMS = ("random", "cluster", DEFAULT, "rare")


@dataclass(frozen=True)
class Found:
    """What one campaign came to."""

    share: float  # of the pool's rare samples that were bought
    recall: float  # of the rare class in the test, at the end
    mean_recall: float
    accuracy: float


def run(options: Options) -> Report:
    """Play every arm on every set and seed."""
    sets = ["digits/strokes", "spam/sms"] if options.quick else list(RARE)
    labels = 150 if options.quick else LABELS
    found = {
        name: {
            arm: [play(name, arm, seed, labels) for seed in range(options.repeats)] for arm in ARMS
        }
        for name in sets
    }
    figures = {
        f"{arm}_{name.split('/')[1]}": Figure("of the rare", [each.share for each in seeds])
        for name, arms in found.items()
        for arm, seeds in arms.items()
    }
    for other in ("random", "cluster"):
        ratios = [
            _mean(arms["rare"], "share") / _mean(arms[other], "share") for arms in found.values()
        ]
        figures[f"rare_over_{other}"] = Figure("times as many", ratios)
    workload = {"labels": labels, "batch": BATCH, "sets": len(sets), "seeds": options.repeats}
    return Report(workload, figures, tables=[table(name, arms) for name, arms in found.items()])


def thinned(name: str, seed: int) -> tuple[Split, int]:
    """Draw a pool and a test set; of the pool's rare class, only a few stay."""
    split, rare = Split.of(scaled(load(name)), seed), RARE[name]
    if name in AS_IT_IS:
        return split, rare
    is_rare_P = split.data.labels_N[split.pool_P] == rare
    keep = round(SHARE * (~is_rare_P).sum() / (1 - SHARE))
    drop = np.random.default_rng(seed).permutation(np.flatnonzero(is_rare_P))[keep:]
    return Split(split.data, np.delete(split.pool_P, drop), split.test_T), rare


def play(name: str, strategy: str, seed: int, labels: int) -> Found:
    """Buy batch after batch."""
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
    return Found(float(bought), recall, float(np.mean(recalls)), accuracy)


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


def table(name: str, arms: dict[str, list[Found]]) -> Table:
    """Lay the arms of a set side by side: means over the seeds."""
    how = "as it is" if name in AS_IT_IS else f"one class kept at {SHARE:.1%}"
    out = Table(title=f"{name}, {how}", title_justify="left")
    for column in ("arm", "rare bought", "recall", "mean recall", "accuracy"):
        out.add_column(column, justify="left" if column == "arm" else "right")
    for arm, seeds in arms.items():
        names = ("share", "recall", "mean_recall", "accuracy")
        out.add_row(arm, *(f"{_mean(seeds, each):.3f}" for each in names))
    return out


def _mean(seeds: Sequence[Found], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in seeds]))


if __name__ == "__main__":
    main("rare", __doc__, run, repeats=5)
