"""Are gaps found: patterns of a pool that hardly anyone has labeled?

    python -m benchmarks.gaps [--quick] [--check] [--repeats 5]

Real sets (benchmarks/sets.py), pools of 5,000. A part of the pool, a class, a domain or images that
are turned by 90 degrees, is labeled at 3 % of its share. The other labels are drawn at random, or
chosen by margin with a probe that is fitted again for each batch. A tenth of the labels more are
audits, drawn at random from all of the pool. A gap is right if at least half of its samples belong
to that part; the part is found if some gap is right. The product keeps the gaps in which models are
worse than overall (`matters`); the figures of `all` are without that. The functions are
those of the product (methods/gaps.py), on arrays.

Suffixes: N samples of the pool, L labeled ones, A audits, D features.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from PIL import Image
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import scaled
from benchmarks.sets import Labeled, LabeledSet, drawings, load, pictures
from umc_ray.methods.gaps import Errors, Gap, Tree, build_tree, cluster, error_in_gap, find_gaps
from umc_ray.records import IntArray

POOL, LEFT, TURNED = 5000, 0.03, 0.2
SIZES = (400, 1000)
ENOUGH = 45  # labels that the part should have
SHARES = (0.04, 0.5)  # of a pool that a planted part may have
CLASSES = (
    "digits/scans",
    "digits/strokes",
    "shapes/animals",
    "garments/fashion",
    "topics/reuters",
    "questions/trec",
)


@dataclass(frozen=True)
class Pool:
    """Features, labels and the planted part of one seed."""

    x_ND: np.ndarray
    labels_N: IntArray
    planted_N: np.ndarray


@dataclass(frozen=True)
class Found:
    """What was found in one run; `expected`: labels that the planted part should have."""

    expected: float
    right: int
    wrong: int


def turned(domain: str) -> LabeledSet:
    """Return digits of which some are turned by 90 degrees; these are its group 1."""
    rows = drawings(domain)
    is_turned_N = np.random.default_rng(0).random(len(rows)) < TURNED
    images = [_turn(row) if each else row for row, each in zip(rows, is_turned_N, strict=True)]
    data = pictures(images)
    return LabeledSet(data.features_ND, data.labels_N, is_turned_N.astype(np.int64), data.answers_N)


def _turn(row: Labeled) -> Labeled:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(row[0])).transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG")
    return buffer.getvalue(), row[1]


SETTINGS: dict[str, tuple[Callable[[], LabeledSet], bool]] = {
    **{f"class of {name}": (partial(load, name), False) for name in CLASSES},
    "domain of sentiment/four": (partial(load, "sentiment/four"), True),
    "turned digits/scans": (partial(turned, "scans"), True),
    "turned digits/strokes": (partial(turned, "strokes"), True),
}


@cache
def _data(setting: str) -> LabeledSet:
    return scaled(SETTINGS[setting][0]())


def run(options: Options) -> Report:
    """Plant and look for gaps in all settings."""
    names = list(SETTINGS)[:2] if options.quick else list(SETTINGS)
    sizes = SIZES[:1] if options.quick else SIZES
    figures, table = dict[str, Figure](), _table()
    for how in ("random", "margin"):
        for size in sizes:
            found = {
                name: [_play(name, seed, how, size) for seed in range(options.repeats)]
                for name in names
            }
            for name, runs in found.items():
                table.add_row(how, str(size), name, *_cells([kept for kept, _ in runs]))
            pairs = [pair for runs in found.values() for pair in runs]
            figures |= _figures(f"{how}_{size}", [kept for kept, _ in pairs])
            figures |= _figures(f"{how}_{size}_all", [every for _, every in pairs])
    workload = {"settings": len(names), "labels": list(sizes), "seeds": options.repeats}
    return Report(workload, figures, tables=[table])


def _figures(name: str, runs: list[Found]) -> dict[str, Figure]:
    right, wrong = sum(run.right for run in runs), sum(run.wrong for run in runs)
    enough = [run for run in runs if run.expected >= ENOUGH]
    figures = {
        f"recall_{name}": Figure("parts found", [_recall(runs)]),
        f"precision_{name}": Figure("gaps right", [right / max(1, right + wrong)]),
        f"false_{name}": Figure("false gaps a run", [wrong / len(runs)]),
    }
    if enough:
        figures[f"recall_{name}_from_{ENOUGH}"] = Figure("parts found", [_recall(enough)])
    return figures


def _recall(runs: list[Found]) -> float:
    return sum(run.right > 0 for run in runs) / len(runs)


def _play(setting: str, seed: int, how: str, size: int) -> tuple[Found, Found]:
    """Return what the product finds in one run, and what it would without looking at errors."""
    pool = _plant(setting, seed)
    labeled_L = (_random if how == "random" else _by_margin)(pool, size, seed)
    tree = build_tree(pool.x_ND, cluster(pool.x_ND, seed=0))
    gaps = find_gaps(tree, tree.labels_N[labeled_L])
    kept = _mattering(pool, tree, gaps, labeled_L, seed)
    expected = float(pool.planted_N.mean() * size)
    return _judged(pool, tree, kept, expected), _judged(pool, tree, gaps, expected)


def _judged(pool: Pool, tree: Tree, gaps: list[Gap], expected: float) -> Found:
    shares = [pool.planted_N[np.isin(tree.labels_N, gap.clusters)].mean() for gap in gaps]
    right = sum(bool(share >= 0.5) for share in shares)
    return Found(expected, right, len(gaps) - right)


def _plant(setting: str, seed: int) -> Pool:
    data, by_group = _data(setting), SETTINGS[setting][1]
    rng = np.random.default_rng([seed, 7])
    rows = rng.permutation(len(data.labels_N))[:POOL]
    parts_N = (data.groups_N if by_group else data.labels_N)[rows]
    if setting.startswith("turned"):
        return Pool(data.features_ND[rows], data.labels_N[rows], parts_N == 1)
    shares = np.bincount(parts_N) / len(rows)
    usable = np.flatnonzero((shares > SHARES[0]) & (shares < SHARES[1]))
    return Pool(data.features_ND[rows], data.labels_N[rows], parts_N == rng.choice(usable))


def _random(pool: Pool, size: int, seed: int) -> IntArray:
    weights_N = np.where(pool.planted_N, LEFT, 1.0)
    rng = np.random.default_rng([seed, 3])
    return rng.choice(len(weights_N), size, replace=False, p=weights_N / weights_N.sum())


def _by_margin(pool: Pool, size: int, seed: int) -> IntArray:
    rng = np.random.default_rng([seed, 3])
    within_reach = np.flatnonzero(
        rng.random(len(pool.planted_N)) < np.where(pool.planted_N, LEFT, 1)
    )
    labeled_L = rng.permutation(within_reach)[: min(50, size // 2)]
    while len(labeled_L) < size:
        probs = np.sort(_fit(pool, labeled_L).predict_proba(pool.x_ND), axis=1)
        free = np.setdiff1d(within_reach, labeled_L)
        order = np.argsort((probs[:, -1] - probs[:, -2])[free], kind="stable")
        labeled_L = np.concatenate([labeled_L, free[order[: max(50, size // 6)]]])
    return labeled_L[:size]


def _fit(pool: Pool, rows: IntArray) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # converged enough for rankings
        probe = LogisticRegression(C=0.03, max_iter=15)
        return probe.fit(pool.x_ND[rows], pool.labels_N[rows])


def _mattering(
    pool: Pool, tree: Tree, gaps: list[Gap], labeled_L: IntArray, seed: int
) -> list[Gap]:
    """Return the gaps in which the probe is worse than overall, by audits and by itself."""
    free = np.setdiff1d(np.arange(len(pool.labels_N)), labeled_L)
    audits_A = np.random.default_rng([seed, 9]).permutation(free)[: len(labeled_L) // 10]
    probe = _fit(pool, labeled_L)
    probs = probe.predict_proba(pool.x_ND)
    wrong_N, expected_N = probe.classes_[probs.argmax(1)] != pool.labels_N, 1 - probs.max(1)

    def errors(inside_N: np.ndarray) -> Errors:
        own = audits_A[inside_N[audits_A]]
        return Errors(len(own), float(wrong_N[own].sum()), float(expected_N[inside_N].mean()))

    overall, kept = errors(np.ones(len(wrong_N), bool)), []
    for gap in gaps:
        error, mean = error_in_gap(errors(np.isin(tree.labels_N, gap.clusters)), overall)
        if error >= mean:
            kept.append(gap)
    return kept


def _table() -> Table:
    table = Table(title="gaps that matter")
    for name in ("labels by", "labels", "planted", "should have", "found", "right", "wrong"):
        table.add_column(name)
    return table


def _cells(runs: list[Found]) -> list[str]:
    return [
        f"{np.mean([run.expected for run in runs]):.0f}",
        f"{_recall(runs):.2f}",
        str(sum(run.right for run in runs)),
        str(sum(run.wrong for run in runs)),
    ]


if __name__ == "__main__":
    main("gaps", __doc__, run, repeats=5)
