"""What do group floors and reweighing do for fairness, and what do they cost?

    python -m benchmarks.fairness [--quick] [--check] [--repeats 6]

Adult and COMPAS, with sex x race as groups. In adult_seen, models see both, as where a user asks
for it; in the others, they see neither. Campaigns on arrays with the functions of the product, not
whole campaigns: its encoder of tables, its linear head with cross-validated penalty, its default
strategy on margins, its reweighing and its group floors. All begin with the same 100 random labels
and go on in batches of 100 and, from 600 labels on, of 200. Pools of 10,000 (COMPAS: 4,000), drawn
by seed; all other rows are the test set. All arms of a seed share pool, test set and first batch. A
floor is 5 % of a batch for each of six groups. Floor and exponents were chosen before the first run
and not tuned. The sets were changed after the first seed: on Adult's usual test set, chance alone
made an EOD of 13 points, more than that of models that see neither sex nor race.

EOD is the equalized-odds difference on the test set, the largest between any two of the six groups.
Floor: what it would be if groups did not matter. Peers are random selection and fairlearn's
ThresholdOptimizer, which is fitted to the labels of the margin arm and needs groups to predict.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.table import Table

from benchmarks.frame import FOLDER, Figure, Options, Report, main
from benchmarks.grouped_sets import GroupedSet, adult, compas
from benchmarks.strategies import PER_LABEL, informativeness
from benchmarks.thresholds import group_thresholds
from umc_ray.config.campaign import SelectionConfig, TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.demo.fetch import cache_dir
from umc_ray.methods.fairness import Outcomes, equalized_odds
from umc_ray.methods.group_floor import give_way, least_picks
from umc_ray.methods.identity import uniform
from umc_ray.methods.intersections import intersect
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import Candidates, select
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.heads import Head
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

REVISION = 2  # increase it when code that affects a campaign changes
SETS: Mapping[str, Callable[[], GroupedSet]] = {
    "adult_seen": lambda: adult(seen=True),
    "compas": compas,
    "adult": lambda: adult(seen=False),
}
FOLDS, SMALLEST = 5, 30
FIRST, SIZES = 100, (600, 2000)
FLOOR = 0.05
FEATURES = "table"
STRATEGY = SelectionConfig().strategy


@dataclass(frozen=True)
class Arm:
    """A way to select and to train."""

    selects: bool = True
    reweighing: float = 0.0
    floor: float = 0.0


ARMS: Mapping[str, Arm] = {
    "random": Arm(selects=False),
    "margin": Arm(),
    "margin, reweighing 0.25": Arm(reweighing=0.25),
    "margin, reweighing 0.5": Arm(reweighing=0.5),
    "margin, reweighing 1": Arm(reweighing=1.0),
    "margin, floor": Arm(floor=FLOOR),
    "margin, floor, reweighing 0.5": Arm(reweighing=0.5, floor=FLOOR),
    "margin, floor, reweighing 1": Arm(reweighing=1.0, floor=FLOOR),
}
FRONTIER = ("margin", *(name for name in ARMS if name.startswith("margin, reweighing")))
PEER = "margin, fairlearn thresholds"
CHOSEN = "margin, floor, reweighing 0.5"


@dataclass(frozen=True)
class Measured:
    """What an arm achieves on the test set after some labels."""

    accuracy: float
    eod: float
    noise: float  # EOD of permuted groups, mean
    beyond: bool  # whether EOD is beyond chance


@dataclass(frozen=True)
class World:
    """A pool and its test set: features, class numbers and groups of all rows."""

    kind: Classification
    x_ND: FloatArray
    targets_N: IntArray
    labels: tuple[str, ...]
    attributes: Mapping[str, npt.NDArray[np.str_]]
    groups_N: IntArray
    pool: IntArray
    tests: IntArray

    @classmethod
    def of(cls, data: GroupedSet, seed: int) -> "World":
        """Draw a pool and encode."""
        pool, tests = data.split(seed)
        kind = Classification(tuple(sorted(set(data.labels))))
        groups = intersect(list(data.attributes.values()), 1)
        targets_N = kind.strata(data.labels)
        return cls(
            kind, data.features(pool), targets_N, tuple(data.labels), data.attributes,
            groups.codes_N, pool, tests,
        )  # fmt: skip

    def fit(self, known: IntArray, reweighing: float) -> Head:
        """Fit the product's linear head."""
        return self.fitted(known, reweighing)[0]

    def fitted(self, known: IntArray, reweighing: float) -> tuple[Head, FloatArray]:
        """Fit the product's linear head; returns its held-out outputs, too."""
        ones = np.ones(len(known), np.float32)
        texts = tuple(self.labels[row] for row in known)
        examples = Examples(
            texts_N=texts,
            targets=self.kind.encode(texts),
            features={FEATURES: self.x_ND[known]},
            domains_N=np.array(["all"] * len(known)),
            ids_N=known.astype(np.int64),
            audit_N=ones > 0,
            random_N=ones > 0,
            rounds_N=np.ones(len(known), np.int64),
            agreement_N=ones,
            groups={name: values_N[known] for name, values_N in self.attributes.items()},
        )
        config, training = SpecialistConfig(encoder=FEATURES), TrainingConfig()
        job = FitJob(config, self.kind, Storage("."), "", None, 0, training, reweighing=reweighing)
        folds_N = (uniform(examples.ids_N, 0, "folds") * FOLDS).astype(np.int64)
        return Head.fit(job, examples, ones, folds_N, "cpu")[:2]

    def probs(self, head: Head, rows: IntArray) -> FloatArray:
        """Return class probabilities."""
        outputs_NC = Head.together([head])(torch.from_numpy(self.x_ND[rows]))[0]
        probs_NC: FloatArray = outputs_NC.softmax(1).numpy()
        return probs_NC

    def measure(self, predicted_N: npt.NDArray[np.integer]) -> Measured:
        """Hold predictions of the test set against its labels."""
        truth_N, eye = self.targets_N[self.tests], np.eye(len(self.kind.labels), dtype=np.bool_)
        found = equalized_odds(
            Outcomes(self.groups_N[self.tests], eye[truth_N], eye[predicted_N], truth_N)
        )
        assert found is not None
        right = float((predicted_N == truth_N).mean())
        return Measured(right, found.value, found.floor_mean, found.is_beyond_chance)


def run(options: Options) -> Report:
    """Run all arms on all sets."""
    torch.set_num_threads(1)
    figures, tables, failures = dict[str, Figure](), list[Table](), list[str]()
    sizes = (200,) if options.quick else SIZES
    found = {}
    for name in ["compas"] if options.quick else SETS:
        data = SETS[name]()
        runs = [_cached(name, data, sizes, seed) for seed in range(options.repeats)]
        for size in sizes:
            arms = {arm: [each[arm][size] for each in runs] for arm in runs[0]}
            found[name, size] = arms
            tables.append(_table(f"{name}, {size} labels", arms))
            figures |= _figures(f"{name}_{size}", arms)
    if not options.quick:
        _store(FOLDER / "results", found)
    workload = {"sets": list(SETS), "labels": list(sizes), "seeds": options.repeats}
    return Report(workload, figures, failures, tables)


def _cached(
    name: str, data: GroupedSet, sizes: tuple[int, ...], seed: int
) -> dict[str, dict[int, Measured]]:
    """Play all arms of a seed, once: an interrupted run resumes."""
    folder = cache_dir() / "benchmarks" / "fairness"
    path = folder / f"{REVISION}-{name}-{sizes[-1]}-{seed}.json"
    if not path.exists():
        found = _play_all(World.of(data, seed), sizes, seed)
        document = {
            arm: {size: vars(each) for size, each in by.items()} for arm, by in found.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(document))
        partial.replace(path)
    stored = json.loads(path.read_text())
    return {
        arm: {int(size): Measured(**each) for size, each in by.items()}
        for arm, by in stored.items()
    }


def _play_all(world: World, sizes: tuple[int, ...], seed: int) -> dict[str, dict[int, Measured]]:
    found = {name: _play(world, arm, sizes, seed) for name, arm in ARMS.items()}
    stops = _campaign(world, ARMS["margin"], sizes, seed)
    found[PEER] = {size: _thresholds(world, known) for size, known in stops}
    return found


def _play(world: World, arm: Arm, sizes: tuple[int, ...], seed: int) -> dict[int, Measured]:
    found = {}
    for size, known in _campaign(world, arm, sizes, seed):
        head = world.fit(known, arm.reweighing)
        found[size] = world.measure(world.probs(head, world.tests).argmax(1))
    return found


def _campaign(
    world: World, arm: Arm, sizes: tuple[int, ...], seed: int
) -> list[tuple[int, IntArray]]:
    """Return the rows that are labeled at each of some sizes."""
    order = np.random.default_rng([seed, 1]).permutation(world.pool)
    if not arm.selects:
        return [(size, order[:size]) for size in sizes]
    known, stops = order[:FIRST], []
    while len(known) < sizes[-1]:
        head = world.fit(known, arm.reweighing)
        batch = FIRST if len(known) < SIZES[0] else 2 * FIRST
        free = np.setdiff1d(world.pool, known)
        known = np.concatenate([known, _batch(world, head, arm, known, free, batch, seed)])
        if len(known) in sizes:
            stops.append((len(known), known))
    return stops


def _batch(
    world: World, head: Head, arm: Arm, known: IntArray, free: IntArray, batch: int, seed: int
) -> IntArray:
    """Select a batch, and raise groups to their floor as selection/group_floor.py does."""
    value_F = informativeness(world.probs(head, free))

    def choose(rows: IntArray, n: int) -> IntArray:
        best = top_m(value_F[rows], free[rows], PER_LABEL * n)
        candidates = Candidates(free[rows[best]], value_F[rows[best]], world.x_ND[free[rows[best]]])
        picks = select(
            STRATEGY, candidates, n, seed=seed, labeled_embeddings=world.x_ND[known],
            labeled_answers=world.targets_N[known],
        )  # fmt: skip
        return rows[best[picks]]

    picks = choose(np.arange(len(free)), batch)
    if not arm.floor:
        return free[picks]
    sizes_G = np.bincount(world.groups_N[world.pool])
    groups = np.where(sizes_G >= SMALLEST)[0]
    code_G = np.full(len(sizes_G), -1)
    code_G[groups] = np.arange(len(groups))
    groups_F = code_G[world.groups_N[free]]
    available_G = np.bincount(groups_F[groups_F >= 0], minlength=len(groups))
    stays, lacking_G = give_way(groups_F[picks], least_picks(batch, arm.floor, available_G))
    more = [
        choose(np.setdiff1d(np.flatnonzero(groups_F == group), picks), int(n))
        for group, n in enumerate(lacking_G)
        if n
    ]
    rows: IntArray = free[np.concatenate([picks[stays], *more])]
    return rows


def _thresholds(world: World, known: IntArray) -> Measured:
    """Move the thresholds of each group, by the labels that the model has learned."""
    head = world.fit(known, 0.0)
    probs, groups_N = (world.probs(head, rows) for rows in (known, world.tests)), world.groups_N
    known_NC, tests_MC = probs
    return world.measure(
        group_thresholds(
            known_NC, world.targets_N[known], groups_N[known], tests_MC, groups_N[world.tests]
        )
    )


def _figures(name: str, arms: Mapping[str, list[Measured]]) -> dict[str, Figure]:
    """Return the ratio of mean EODs to margin's, and the accuracy that is lost, by arm."""
    margin = arms["margin"]
    figures = {}
    for arm, each in arms.items():
        if arm != "margin":
            key = f"{name}/{arm.replace(', ', '_').replace(' ', '_')}"
            ratio = np.mean([m.eod for m in each]) / np.mean([m.eod for m in margin])
            lost = [100 * (b.accuracy - m.accuracy) for m, b in zip(each, margin, strict=True)]
            figures[f"{key}_eod"] = Figure("mean EOD over margin's", [float(ratio)])
            figures[f"{key}_lost"] = Figure(
                "points of accuracy below margin", [float(np.mean(lost))]
            )
    return figures


def _table(title: str, arms: Mapping[str, list[Measured]]) -> Table:
    table = Table(title=f"{title}: means over seeds, lowest and highest EOD, in points")
    for column in ("arm", "accuracy", "EOD", "lowest", "highest", "by chance", "beyond chance"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm, each in arms.items():
        eods = [100 * m.eod for m in each]
        accuracy, noise = (
            100 * np.mean([getattr(m, n) for m in each]) for n in ("accuracy", "noise")
        )
        numbers = (accuracy, np.mean(eods), min(eods), max(eods), noise)
        beyond = f"{sum(m.beyond for m in each)} of {len(each)}"
        table.add_row(arm, *(f"{number:.1f}" for number in numbers), beyond)
    return table


def _store(folder: Path, found: Mapping[tuple[str, int], Mapping[str, list[Measured]]]) -> None:
    """Write all measurements, and plot accuracy against EOD as the exponent varies."""
    from matplotlib.figure import Figure as Canvas  # slow to import

    document = {
        f"{name}_{size}": {arm: [vars(m) for m in each] for arm, each in arms.items()}
        for (name, size), arms in found.items()
    }
    (folder / "fairness_frontier.json").write_text(json.dumps(document, indent=1) + "\n")
    canvas = Canvas(figsize=(4 * len(found), 4), layout="constrained")
    for axes, ((name, size), arms) in zip(
        np.atleast_1d(canvas.subplots(1, len(found))), found.items(), strict=True
    ):
        points = {
            arm: (100 * np.mean([m.eod for m in each]), 100 * np.mean([m.accuracy for m in each]))
            for arm, each in arms.items()
        }
        axes.plot(*zip(*(points[arm] for arm in FRONTIER), strict=True), color="gray", lw=0.7)
        for arm, (eod, accuracy) in points.items():
            axes.plot(eod, accuracy, "s" if arm == CHOSEN else "o", label=arm)
        axes.set(title=f"{name}, {size} labels", xlabel="EOD, points", ylabel="accuracy, %")
    axes.legend(fontsize=6)
    canvas.savefig(folder / "fairness_frontier.png", dpi=80)


if __name__ == "__main__":
    main("fairness", __doc__, run, repeats=6)
