"""Do labels spent on gaps and rare classes pay?

    python -m benchmarks.refill [--quick] [--check] [--repeats 3]

Two classes, drawn by seed, have 5 of 300 given labels each; 100 more are bought in two rounds. The
pool is as it is, or has 1 % of each of the two classes. `run_campaign` runs from the sources to the
evaluation, with people's answers filled into its sheets: at random; by the default selection; and
with half of the labels for what the domain lacks (`refine.share: 0.5`). All of them train with
balanced classes (`class_weights: balanced`), which is free; one arm does without. Recall of the
worst class and macro F1 on 1,500 other samples, paired by seed.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.sets import Labeled, documents, drawings, word_encoder
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.control import share_inputs
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations
from umc_ray.methods.identity import sample_ids

T = TypeVar("T")

GIVEN, RARE, EACH, BUDGET = 300, 2, 5, 100
POOL, TEST, THIN = 3000, 1500, 0.01
SMALLEST = 80  # samples that a class must have to be made rare
SETS = {
    "topics/reuters": lambda: documents("reuters-r8-train"),
    "digits/strokes": lambda: drawings("strokes"),
}
PLAIN, RANDOM, SELECTED, REFILLED = "unbalanced", "random", "selected", "refilled"
ARMS: Mapping[str, dict[str, Any]] = {
    RANDOM: {"selection": {"strategy": "random"}},
    SELECTED: {},
    REFILLED: {"refine": {"share": 0.5}},
    PLAIN: {"selection": {"strategy": "random"}},
}


@dataclass(frozen=True)
class Outcome:
    """What the test says at the end, and how many labels of the rare classes were bought."""

    worst: float
    macro_f1: float
    bought: int


Outcomes = Mapping[str, Sequence[Outcome]]
"""By arm, in the order of the seeds."""


@dataclass(frozen=True)
class Plan:
    """What campaigns are compared: the sections in which they differ, by arm, and their labels."""

    arms: Mapping[str, dict[str, Any]]
    budget: int
    rounds: int
    left: float = THIN  # of the pool that rare classes make up, each


PLAN = Plan(ARMS, BUDGET, 2)


def run(options: Options) -> Report:
    """Run all campaigns of all sets, pools and seeds."""
    names = list(SETS)[:1] if options.quick else list(SETS)
    found: dict[str, Outcomes] = {}
    with local_ray(2):
        for name in names:
            rows = list(dict.fromkeys(SETS[name]()))
            for pool in ("1 %", "natural"):
                seeds = [play(rows, pool == "1 %", seed, PLAN) for seed in range(options.repeats)]
                found[f"{name}, {pool}"] = {arm: [each[arm] for each in seeds] for arm in ARMS}
    figures = dict[str, Figure]()
    for name, outcomes in found.items():
        for arm in (RANDOM, SELECTED):
            key = f"over_{arm}/{name}"
            figures[f"worst_recall_{key}"] = _gain(outcomes, arm, "worst")
            figures[f"macro_f1_{key}"] = _gain(outcomes, arm, "macro_f1")
    workload = {"pool": POOL, "given": GIVEN, "bought": BUDGET, "seeds": options.repeats}
    return Report(workload, figures, tables=[outcomes_table(found)])


def _gain(outcomes: Outcomes, arm: str, what: str) -> Figure:
    pairs = zip(outcomes[REFILLED], outcomes[arm], strict=True)
    return Figure("points", [100 * (getattr(a, what) - getattr(b, what)) for a, b in pairs])


def outcomes_table(found: Mapping[str, Outcomes]) -> Table:
    """Return the means of all arms."""
    table = Table(title="means over seeds")
    for name in ("set, pool", "arm", "worst recall", "macro F1", "rare labels bought"):
        table.add_column(name)
    for name, outcomes in found.items():
        for arm, seeds in outcomes.items():
            means = [np.mean([getattr(s, each) for s in seeds]) for each in ("worst", "macro_f1")]
            bought = np.mean([each.bought for each in seeds])
            table.add_row(name, arm, *(f"{each:.3f}" for each in means), f"{bought:.0f}")
    return table


def play(rows: Sequence[Labeled], thin: bool, seed: int, plan: Plan) -> dict[str, Outcome]:
    """Run the campaigns of one seed in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        truth, rare = write_campaigns(Path(folder), rows, thin, seed, plan)
        return run_arms(Path(folder), plan.arms, lambda run: _outcome(run, truth, rare))


def run_arms(folder: Path, arms: Iterable[str], outcome: Callable[[Run], T]) -> dict[str, T]:
    """Run the campaigns in a folder, which share what is alike; returns what comes of each."""
    runs: list[Run] = []
    outcomes = {}
    for arm in arms:
        run = Run(load_campaign(folder / f"{arm}.yaml"))
        share_inputs(run, runs)
        runs.append(run)
        with closing(run.store):
            outcomes[arm] = outcome(run)
    return outcomes


def run_by_sheets(run: Run, label: Callable[[Mapping[str, str]], str]) -> list[str]:
    """Run a campaign to its end, with all of its sheets filled in; returns the labels."""
    given, number = list[str](), 1
    while True:
        try:
            run_campaign(run)
            return given
        except AwaitingAnnotations:
            given += fill_in(Path(run.storage.path(f"{round_folder(number)}/sheet.csv")), label)
            number += 1


def write_campaigns(
    folder: Path, rows: Sequence[Labeled], thin: bool, seed: int, plan: Plan
) -> tuple[dict[str, str], list[str]]:
    """Write sources and campaigns; returns the labels by id, and the rare classes."""
    rng = np.random.default_rng([seed, 11])
    order = rng.permutation(len(rows))
    test, rest = order[:TEST].tolist(), order[TEST : TEST + POOL].tolist()
    classes = sorted({label for _, label in rows})
    counts = {label: sum(rows[row][1] == label for row in rest) for label in classes}
    rare = rng.choice([c for c in classes if counts[c] >= SMALLEST], RARE, replace=False).tolist()
    pool = _pool(rows, rest, rare, plan.left if thin else None)
    known = set(_given(rows, pool, rare))
    payload = "image" if isinstance(rows[0][0], bytes) else "text"
    ids = sample_ids("task", "domain", "pool", list(map(str, pool))).tolist()
    truth = {f"s{each}": rows[row][1] for each, row in zip(ids, pool, strict=True)}
    for name, chosen in (("pool", pool), ("test", test)):
        labels = [rows[row][1] if name == "test" or row in known else None for row in chosen]
        columns = {payload: [rows[row][0] for row in chosen], "key": list(map(str, chosen))}
        table = pa.table({**columns, "label": pa.array(labels, pa.string())})
        pq.write_table(table, folder / f"{name}.parquet")
    for arm, changes in plan.arms.items():
        values = _campaign(arm, payload, classes, seed, plan) | changes
        (folder / f"{arm}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return truth, rare


def _pool(
    rows: Sequence[Labeled], rest: Sequence[int], rare: list[str], share: float | None
) -> list[int]:
    """Return the rows of the pool; of rare classes, a share of it each, or all."""
    left = dict.fromkeys(rare, round((share or 0) * len(rest)))
    pool = []
    for row in rest:
        label = rows[row][1]
        if share is not None and label in left:
            if not left[label]:
                continue
            left[label] -= 1
        pool.append(row)
    return pool


def _given(rows: Sequence[Labeled], pool: list[int], rare: list[str]) -> list[int]:
    """Return the rows whose label is given: 5 of each rare class, the others as they come."""
    few = [[row for row in pool if rows[row][1] == label][:EACH] for label in rare]
    others = [row for row in pool if rows[row][1] not in rare]
    return [row for own in few for row in own] + others[: GIVEN - RARE * EACH]


def _campaign(arm: str, payload: str, labels: list[str], seed: int, plan: Plan) -> dict[str, Any]:
    encoder = (
        {"kind": "gradients"}
        if payload == "image"
        else word_encoder().model_dump(include={"kind", "path"})
    )
    weights = "none" if arm == PLAIN else "balanced"
    domain = {"source": "pool.parquet", "test": "test.parquet", "key": "key", "label": "label"}
    return {
        "name": arm,
        "seed": seed,
        "tasks": {
            "task": {
                "kind": "classification",
                "labels": labels,
                "encoder": encoder,
                "specialists": {"head": {"class_weights": weights}},
                "domains": {"domain": {**domain, payload: payload}},
            }
        },
        "budget": {"labels": plan.budget, "per_round": plan.budget // plan.rounds},
        "annotation": {"backend": "sheet"},
    }


def _outcome(run: Run, truth: Mapping[str, str], rare: Sequence[str]) -> Outcome:
    given = run_by_sheets(run, lambda row: truth[row["sample_id"]])
    bought = sum(label in rare for label in given)
    (metrics,) = run.round_metrics(run.finished_rounds)[-1:]
    quality = metrics.domains["task/domain"].test
    assert quality is not None
    recalls = [e.value for name, e in quality.figures.items() if name.startswith("recall of")]
    return Outcome(min(recalls), quality.figures["macro F1"].value, bought)


def fill_in(sheet: Path, label: Callable[[Mapping[str, str]], str]) -> list[str]:
    """Fill in a sheet; returns the labels."""
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = label(row)
    with sheet.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [row["label"] for row in rows]


if __name__ == "__main__":
    main("refill", __doc__, run, repeats=3)
