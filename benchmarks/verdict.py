"""Evaluate the campaigns of the label efficiency benchmark: savings, wins, significance, a plot.

Everything is paired by seed with the random strategy, or with the best peer: the one with the
highest mean area under the learning curve on that set, which favors the peers, since it is chosen
in hindsight. P values are of the paired t test; Holm's correction is over the strategies of a set.

Suffixes: S seeds, R rounds, A strategies.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from scipy.stats import ttest_rel

from benchmarks.frame import Figure
from benchmarks.strategies import PEERS
from umc_ray.methods.savings import aulc, labels_to_reach

FloatArray = npt.NDArray[np.float64]
Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""Campaigns on one set by strategy, in the order of the seeds; "full" has all labels."""

SIGNIFICANT = 0.05


def areas(runs: Runs, strategy: str, curve: str = "accuracy") -> FloatArray:
    """Return the area under a curve for each seed."""
    return np.array([aulc(run["labels"], run[curve]) for run in runs[strategy]])


def labels_needed(runs: Runs, strategy: str, share: float) -> FloatArray:
    """Return the labels needed for a share of the full accuracy; inf if it is not reached."""
    targets = [share * full["accuracy"] for full in runs["full"]]
    return _needed(runs, strategy, targets)


def labels_to_match_random(runs: Runs, strategy: str) -> FloatArray:
    """Return the labels needed for the final accuracy of random with the same seed."""
    return _needed(runs, strategy, [run["accuracy"][-1] for run in runs["random"]])


def _needed(runs: Runs, strategy: str, targets: Sequence[float]) -> FloatArray:
    labels = [
        labels_to_reach(run["labels"], run["accuracy"], target)
        for run, target in zip(runs[strategy], targets, strict=True)
    ]
    return np.array([np.inf if each is None else each for each in labels])


def saved(runs: Runs, strategy: str, share: float) -> float:
    """Return the share of random's labels that a strategy saves, from medians over seeds.

    A campaign that does not reach the target counts with all of its labels.
    """
    return _saved(runs, labels_needed(runs, strategy, share), labels_needed(runs, "random", share))


def saved_as_random(runs: Runs, strategy: str) -> float:
    """Return the share of all labels saved when matching the final accuracy of random."""
    return _saved(runs, labels_to_match_random(runs, strategy), np.array([np.inf]))


def _saved(runs: Runs, labels_S: FloatArray, control_S: FloatArray) -> float:
    most = runs["random"][0]["labels"][-1]
    labels, control = (min(float(np.median(each)), most) for each in (labels_S, control_S))
    return float(1 - labels / control)


def holm(p_A: Mapping[str, float]) -> dict[str, float]:
    """Correct p values for multiple tests. Source: Holm 1979, a sequentially rejective test."""
    corrected: dict[str, float] = {}
    least = 0.0
    for rank, strategy in enumerate(sorted(p_A, key=lambda each: p_A[each])):
        least = max(least, min(1.0, (len(p_A) - rank) * p_A[strategy]))
        corrected[strategy] = least
    return corrected


def compared(
    runs: Runs, control: str, strategies: Sequence[str]
) -> dict[str, tuple[FloatArray, float]]:
    """Return paired differences of areas to a control and corrected p values by strategy."""
    differences = {
        strategy: areas(runs, strategy) - areas(runs, control) for strategy in strategies
    }
    p = {strategy: _p(runs, strategy, control) for strategy in strategies}
    corrected = holm(p)
    return {strategy: (differences[strategy], corrected[strategy]) for strategy in strategies}


def _p(runs: Runs, strategy: str, control: str) -> float:
    mine, other = areas(runs, strategy), areas(runs, control)
    if len(mine) < 2 or np.array_equal(mine, other):
        return 1.0
    return float(ttest_rel(mine, other).pvalue)


def best_peer(runs: Runs) -> str:
    """Return the peer with the highest mean area."""
    return max(
        (strategy for strategy in runs if strategy in PEERS),
        key=lambda strategy: areas(runs, strategy).mean(),
    )


def table(name: str, runs: Runs) -> Table:
    """Return a table of the strategies on one set."""
    full = np.mean([run["accuracy"] for run in runs["full"]])
    out = Table(
        title=f"{name}: {len(runs['full'])} seeds, all labels give {full:.3f}",
        title_justify="left",
    )
    columns = ("strategy", "L95", "L98", "as random", "area", "wins", "p", "macro", "worst")
    for column in (*columns, "trees", "CPU s"):
        out.add_column(column, justify="left" if column == "strategy" else "right")
    strategies = [strategy for strategy in runs if strategy not in ("full", "random")]
    versus = compared(runs, "random", strategies)
    for strategy in ("random", *strategies):
        needed = [labels_needed(runs, strategy, share) for share in (0.95, 0.98)]
        needed.append(labels_to_match_random(runs, strategy))
        cells = [strategy, *(_reached(each) for each in needed)]
        if strategy == "random":
            cells += [f"{areas(runs, strategy).mean():.4f}", "", "", *(_mean(runs, strategy)[:3])]
        else:
            gain, p = versus[strategy]
            cells += [f"{100 * gain.mean():+.2f}", f"{(gain > 0).sum()}", f"{p:.3f}"]
            cells += _against_random(runs, strategy)
        out.add_row(*cells, f"{np.mean([run['cpu_s'] for run in runs[strategy]]):.1f}")
    return out


def _reached(labels_S: FloatArray) -> str:
    """Return the median as text, with the number of successful seeds if some failed."""
    reached = int(np.isfinite(labels_S).sum())
    middle = float(np.median(labels_S))
    text = "-" if not np.isfinite(middle) else f"{middle:.0f}"
    return text if reached == len(labels_S) else f"{text} ({reached}/{len(labels_S)})"


def _mean(runs: Runs, strategy: str) -> list[str]:
    areas_3 = [areas(runs, strategy, curve).mean() for curve in ("macro", "worst")]
    return [
        f"{each:.4f}" for each in (*areas_3, np.mean([run["transfer"] for run in runs[strategy]]))
    ]


def _against_random(runs: Runs, strategy: str) -> list[str]:
    gains = [
        (areas(runs, strategy, curve) - areas(runs, "random", curve)).mean()
        for curve in ("macro", "worst")
    ]
    both = zip(runs[strategy], runs["random"], strict=True)
    gains.append(np.mean([mine["transfer"] - other["transfer"] for mine, other in both]))
    return [f"{100 * gain:+.2f}" for gain in gains]


def figures(sets: Mapping[str, Runs], default: str, clean: Sequence[str]) -> dict[str, Figure]:
    """Summarize the default strategy over all sets."""
    summary = {
        f"clean_saved_{round(100 * share)}": Figure(
            "of random's labels", [saved(sets[name], default, share) for name in clean]
        )
        for share in (0.95, 0.98)
    }
    summary["clean_saved_as_random"] = Figure(
        "of all labels", [saved_as_random(sets[name], default) for name in clean]
    )
    random = {name: compared(runs, "random", _rivals(runs)) for name, runs in sets.items()}
    peers = {name: compared(runs, best_peer(runs), [default]) for name, runs in sets.items()}
    for strategy in (
        strategy
        for strategy in next(iter(random.values()))
        if all(strategy in r for r in random.values())
    ):
        gains = [float(each[strategy][0].mean()) for each in random.values()]
        summary[f"gain_{strategy.replace(' ', '_')}"] = Figure("area over random's", gains)
    summary["worse_than_random"] = _count(random, default, sign=-1)
    summary["better_than_random"] = _count(random, default, sign=1)
    summary["worse_than_best_peer"] = _count(peers, default, sign=-1)
    ahead = [float(each[default][0].mean() > 0) for each in peers.values()]
    summary["ahead_of_best_peer"] = Figure("share of sets", [float(np.mean(ahead))])
    return summary


def _rivals(runs: Runs) -> list[str]:
    return [strategy for strategy in runs if strategy not in ("full", "random")]


def _count(
    comparisons: Mapping[str, Mapping[str, tuple[FloatArray, float]]], strategy: str, sign: int
) -> Figure:
    """Return the number of sets with a significant difference of this sign."""
    both = [each[strategy] for each in comparisons.values()]
    counted = sum(bool(sign * gain.mean() > 0 and p < SIGNIFICANT) for gain, p in both)
    return Figure("sets", [float(counted)])


def write_curves(path: Path, sets: Mapping[str, Runs]) -> None:
    """Store the quartiles of all curves."""
    curves = {
        name: {
            strategy: {
                "labels": list_of[0]["labels"],
                "quartiles": np.round(
                    np.quantile([run["accuracy"] for run in list_of], [0.25, 0.5, 0.75], axis=0), 4
                ).tolist(),
            }
            for strategy, list_of in runs.items()
            if strategy != "full"
        }
        for name, runs in sets.items()
    }
    path.write_text(json.dumps(curves, separators=(",", ":")) + "\n")


def plot(path: Path, sets: Mapping[str, Runs], default: str) -> None:
    """Plot the quartiles of random, the default and the best peer of each set."""
    from matplotlib.figure import Figure as Canvas  # slow to import

    rows = -(-len(sets) // 4)
    canvas = Canvas(figsize=(14, 3 * rows), layout="constrained")
    for axes, (name, runs) in zip(canvas.subplots(rows, 4).flat, sets.items(), strict=False):
        for strategy in ("random", best_peer(runs), default):
            labels = runs[strategy][0]["labels"]
            low, middle, high = np.quantile(
                [r["accuracy"] for r in runs[strategy]], [0.25, 0.5, 0.75], 0
            )
            axes.plot(labels, middle, label=strategy)
            axes.fill_between(labels, low, high, alpha=0.2)
        axes.axhline(np.mean([run["accuracy"] for run in runs["full"]]), color="gray", lw=0.7)
        axes.set(title=name, xscale="log")
        axes.legend(fontsize=7)
    canvas.savefig(path, dpi=80)
