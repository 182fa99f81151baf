"""What the campaigns of the label efficiency benchmark say: savings, wins, significance, a plot.

Everything is paired by seed with the random arm, or with the best peer: the one of highest mean
area under the learning curve on that set, which is chosen in hindsight, to the peers' advantage.
P values are of the paired t test; Holm's correction is over the arms of a set.

Suffixes: S seeds, R rounds, A arms.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from scipy.stats import ttest_rel

from benchmarks.arms import PEERS
from benchmarks.frame import Figure
from umc_ray.methods.savings import aulc, labels_to_reach

FloatArray = npt.NDArray[np.float64]
Runs = Mapping[str, Sequence[Mapping[str, Any]]]
"""One set's campaigns by arm, in the order of the seeds; "full": the accuracy of all labels."""

SIGNIFICANT = 0.05


def areas(runs: Runs, arm: str, curve: str = "accuracy") -> FloatArray:
    """Give each seed's area under a curve."""
    return np.array([aulc(run["labels"], run[curve]) for run in runs[arm]])


def labels_needed(runs: Runs, arm: str, share: float) -> FloatArray:
    """Give the labels to a share of each seed's full accuracy; inf where it was not reached."""
    targets = [share * full["accuracy"] for full in runs["full"]]
    return _needed(runs, arm, targets)


def labels_to_match_random(runs: Runs, arm: str) -> FloatArray:
    """Give the labels to the accuracy that each seed's random arm ended with."""
    return _needed(runs, arm, [run["accuracy"][-1] for run in runs["random"]])


def _needed(runs: Runs, arm: str, targets: Sequence[float]) -> FloatArray:
    found = [
        labels_to_reach(run["labels"], run["accuracy"], target)
        for run, target in zip(runs[arm], targets, strict=True)
    ]
    return np.array([np.inf if each is None else each for each in found])


def saved(runs: Runs, arm: str, share: float) -> float:
    """Give the part of random's labels that an arm does without, of medians over seeds.

    What does not arrive counts as arriving with its last label: where both do not, it is 0.
    """
    return _saved(runs, labels_needed(runs, arm, share), labels_needed(runs, "random", share))


def saved_as_random(runs: Runs, arm: str) -> float:
    """Give the part of all labels that an arm does without to match random's final accuracy."""
    return _saved(runs, labels_to_match_random(runs, arm), np.array([np.inf]))


def _saved(runs: Runs, mine_S: FloatArray, other_S: FloatArray) -> float:
    most = runs["random"][0]["labels"][-1]
    mine, other = (min(float(np.median(each)), most) for each in (mine_S, other_S))
    return float(1 - mine / other)


def holm(p_A: Mapping[str, float]) -> dict[str, float]:
    """Correct p values for how many there are. Source: Holm 1979, a sequentially rejective test."""
    corrected: dict[str, float] = {}
    least = 0.0
    for rank, arm in enumerate(sorted(p_A, key=lambda each: p_A[each])):
        least = max(least, min(1.0, (len(p_A) - rank) * p_A[arm]))
        corrected[arm] = least
    return corrected


def compared(runs: Runs, control: str, arms: Sequence[str]) -> dict[str, tuple[FloatArray, float]]:
    """Give each arm's paired differences of areas to a control's, with the corrected p value."""
    differences = {arm: areas(runs, arm) - areas(runs, control) for arm in arms}
    p = {arm: _p(runs, arm, control) for arm in arms}
    corrected = holm(p)
    return {arm: (differences[arm], corrected[arm]) for arm in arms}


def _p(runs: Runs, arm: str, control: str) -> float:
    mine, other = areas(runs, arm), areas(runs, control)
    if len(mine) < 2 or np.array_equal(mine, other):
        return 1.0
    return float(ttest_rel(mine, other).pvalue)


def best_peer(runs: Runs) -> str:
    """Name the peer of highest mean area."""
    return max((arm for arm in runs if arm in PEERS), key=lambda arm: areas(runs, arm).mean())


def table(name: str, runs: Runs) -> Table:
    """Lay one set's arms side by side."""
    full = np.mean([run["accuracy"] for run in runs["full"]])
    out = Table(
        title=f"{name}: {len(runs['full'])} seeds, all labels give {full:.3f}",
        title_justify="left",
    )
    columns = ("arm", "L95", "L98", "as random", "area", "wins", "p", "macro", "worst")
    for column in (*columns, "trees", "CPU s"):
        out.add_column(column, justify="left" if column == "arm" else "right")
    arms = [arm for arm in runs if arm not in ("full", "random")]
    versus = compared(runs, "random", arms)
    for arm in ("random", *arms):
        needed = [labels_needed(runs, arm, share) for share in (0.95, 0.98)]
        needed.append(labels_to_match_random(runs, arm))
        cells = [arm, *(_reached(each) for each in needed)]
        if arm == "random":
            cells += [f"{areas(runs, arm).mean():.4f}", "", "", *(_mean(runs, arm)[:3])]
        else:
            gain, p = versus[arm]
            cells += [f"{100 * gain.mean():+.2f}", f"{(gain > 0).sum()}", f"{p:.3f}"]
            cells += _against_random(runs, arm)
        out.add_row(*cells, f"{np.mean([run['cpu_s'] for run in runs[arm]]):.1f}")
    return out


def _reached(labels_S: FloatArray) -> str:
    """Write the median, and how many seeds arrived where not all did."""
    arrived = int(np.isfinite(labels_S).sum())
    middle = float(np.median(labels_S))
    text = "-" if not np.isfinite(middle) else f"{middle:.0f}"
    return text if arrived == len(labels_S) else f"{text} ({arrived}/{len(labels_S)})"


def _mean(runs: Runs, arm: str) -> list[str]:
    areas_3 = [areas(runs, arm, curve).mean() for curve in ("macro", "worst")]
    return [f"{each:.4f}" for each in (*areas_3, np.mean([run["transfer"] for run in runs[arm]]))]


def _against_random(runs: Runs, arm: str) -> list[str]:
    gains = [
        (areas(runs, arm, curve) - areas(runs, "random", curve)).mean()
        for curve in ("macro", "worst")
    ]
    both = zip(runs[arm], runs["random"], strict=True)
    gains.append(np.mean([mine["transfer"] - other["transfer"] for mine, other in both]))
    return [f"{100 * gain:+.2f}" for gain in gains]


def figures(sets: Mapping[str, Runs], default: str, clean: Sequence[str]) -> dict[str, Figure]:
    """Sum up what the default does over all sets."""
    found = {
        f"clean_saved_{round(100 * share)}": Figure(
            "of random's labels", [saved(sets[name], default, share) for name in clean]
        )
        for share in (0.95, 0.98)
    }
    found["clean_saved_as_random"] = Figure(
        "of all labels", [saved_as_random(sets[name], default) for name in clean]
    )
    random = {name: compared(runs, "random", _rivals(runs)) for name, runs in sets.items()}
    peers = {name: compared(runs, best_peer(runs), [default]) for name, runs in sets.items()}
    for arm in (
        arm for arm in next(iter(random.values())) if all(arm in r for r in random.values())
    ):
        gains = [float(each[arm][0].mean()) for each in random.values()]
        found[f"gain_{arm.replace(' ', '_')}"] = Figure("area over random's", gains)
    found["worse_than_random"] = _count(random, default, sign=-1)
    found["better_than_random"] = _count(random, default, sign=1)
    found["worse_than_best_peer"] = _count(peers, default, sign=-1)
    ahead = [float(each[default][0].mean() > 0) for each in peers.values()]
    found["ahead_of_best_peer"] = Figure("share of sets", [float(np.mean(ahead))])
    return found


def _rivals(runs: Runs) -> list[str]:
    return [arm for arm in runs if arm not in ("full", "random")]


def _count(
    found: Mapping[str, Mapping[str, tuple[FloatArray, float]]], arm: str, sign: int
) -> Figure:
    """Count the sets with a significant difference of this sign."""
    both = [each[arm] for each in found.values()]
    counted = sum(bool(sign * gain.mean() > 0 and p < SIGNIFICANT) for gain, p in both)
    return Figure("sets", [float(counted)])


def write_curves(path: Path, sets: Mapping[str, Runs]) -> None:
    """Store median and quartiles of all curves."""
    curves = {
        name: {
            arm: {
                "labels": list_of[0]["labels"],
                "quartiles": np.round(
                    np.quantile([run["accuracy"] for run in list_of], [0.25, 0.5, 0.75], axis=0), 4
                ).tolist(),
            }
            for arm, list_of in runs.items()
            if arm != "full"
        }
        for name, runs in sets.items()
    }
    path.write_text(json.dumps(curves, separators=(",", ":")) + "\n")


def plot(path: Path, sets: Mapping[str, Runs], default: str) -> None:
    """Draw the medians and quartiles of random, the default and the best peer of each set."""
    from matplotlib.figure import Figure as Canvas  # slow to load

    rows = -(-len(sets) // 4)
    canvas = Canvas(figsize=(14, 3 * rows), layout="constrained")
    for axes, (name, runs) in zip(canvas.subplots(rows, 4).flat, sets.items(), strict=False):
        for arm in ("random", best_peer(runs), default):
            labels = runs[arm][0]["labels"]
            low, middle, high = np.quantile(
                [r["accuracy"] for r in runs[arm]], [0.25, 0.5, 0.75], 0
            )
            axes.plot(labels, middle, label=arm)
            axes.fill_between(labels, low, high, alpha=0.2)
        axes.axhline(np.mean([run["accuracy"] for run in runs["full"]]), color="grey", lw=0.7)
        axes.set(title=name, xscale="log")
        axes.legend(fontsize=7)
    canvas.savefig(path, dpi=80)
