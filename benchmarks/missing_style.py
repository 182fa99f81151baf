"""Do generators fill a style of which the pool has nothing?

    python -m benchmarks.missing_style [--quick] [--check] [--repeats 3]

Scanned digits. The pool is upright; half of a target set, which has no labels, and half of what
models are judged by is turned by 90 degrees. `run_campaign` buys labels from the sources to the
evaluation: without anything; with half of them for gaps of the target (`refine.share`), of which
the pool has no samples; and with the generator `transforms` beside that, whose samples a person
validates within the same number of labels. This person accepts all of them: a turned digit keeps
its label, here. Accuracy on turned and on upright digits that no campaign sees, paired by seed.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.refill import run_arms, run_by_sheets
from benchmarks.sets import Labeled, drawings
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import ROBUSTNESS, round_folder
from umc_ray.campaign.synthetic import standings_of
from umc_ray.demo.planted import Drawing, turned
from umc_ray.methods.identity import sample_ids
from umc_ray.robustness.shifts import Robustness

POOL, TARGET, TEST, GIVEN, BUDGET, ROUNDS = 2000, 1000, 500, 200, 200, 4
TURNED = "turned"
NOTHING, SEARCHED, MADE = "nothing", "search", "transforms"
GENERATORS = {"generators": {"turner": {"kind": "transforms"}}, "samples_per_round": 48}
ARMS: Mapping[str, dict[str, Any]] = {
    NOTHING: {},
    SEARCHED: {"refine": {"share": 0.5}},
    MADE: {"refine": {"share": 0.5, **GENERATORS}},
}


@dataclass(frozen=True)
class Outcome:
    """Accuracy on each style, and how many synthetic samples stand."""

    turned: float
    upright: float
    used: int


def run(options: Options) -> Report:
    """Run all arms of all seeds."""
    rows = list(dict.fromkeys(drawings("scans")))
    with local_ray(2):
        seeds = [_play(rows, seed) for seed in range(options.repeats)]
    figures = {
        f"{style}_{arm}_over_{NOTHING}": _gain(seeds, arm, style)
        for arm in (SEARCHED, MADE)
        for style in (TURNED, "upright")
    }
    workload = {"pool": POOL, "given": GIVEN, "bought": BUDGET, "seeds": options.repeats}
    return Report(workload, figures, tables=[_table(seeds)])


def _gain(seeds: Sequence[Mapping[str, Outcome]], arm: str, style: str) -> Figure:
    gains = [getattr(each[arm], style) - getattr(each[NOTHING], style) for each in seeds]
    return Figure("points of accuracy", [100 * gain for gain in gains])


def _table(seeds: Sequence[Mapping[str, Outcome]]) -> Table:
    table = Table(title="means over seeds")
    for name in ("arm", "turned", "upright", "synthetic samples used"):
        table.add_column(name)
    for arm in ARMS:
        turned, upright, used = (
            np.mean([getattr(each[arm], name) for each in seeds])
            for name in (TURNED, "upright", "used")
        )
        table.add_row(arm, f"{turned:.3f}", f"{upright:.3f}", f"{used:.0f}")
    return table


def _play(rows: Sequence[Labeled], seed: int) -> dict[str, Outcome]:
    """Run the campaigns of one seed in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        truth = _write(Path(folder), rows, seed)
        return run_arms(Path(folder), ARMS, lambda run: _outcome(run, truth))


def _write(folder: Path, rows: Sequence[Labeled], seed: int) -> dict[str, str]:
    """Write sources and campaigns; returns the labels by id."""
    order = iter(np.random.default_rng([seed, 12]).permutation(len(rows)).tolist())
    sizes = {"pool": POOL, "target": TARGET, "test": TEST, TURNED: TEST}
    drawn = {
        name: [Drawing(str(row), *rows[row]) for row, _ in zip(order, range(n), strict=False)]
        for name, n in sizes.items()
    }
    drawn["target"] = [turned(d) if i % 2 else d for i, d in enumerate(drawn["target"])]
    drawn[TURNED] = [turned(each) for each in drawn[TURNED]]
    for name, own in drawn.items():
        known = {"pool": GIVEN, "target": 0}.get(name, len(own))
        labels = [each.label if i < known else None for i, each in enumerate(own)]
        columns = {"image": [each.image for each in own], "key": [each.key for each in own]}
        pq.write_table(
            pa.table({**columns, "label": pa.array(labels, pa.string())}),
            folder / f"{name}.parquet",
        )
    for arm, changes in ARMS.items():
        values = _campaign(arm, sorted({label for _, label in rows}), seed) | changes
        (folder / f"{arm}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    keys = [each.key for each in drawn["pool"]]
    ids = sample_ids("task", "domain", "pool", keys).tolist()
    return {f"s{i}": each.label for i, each in zip(ids, drawn["pool"], strict=True)}


def _campaign(arm: str, labels: list[str], seed: int) -> dict[str, Any]:
    domain = {"source": "pool.parquet", "image": "image", "key": "key", "label": "label"}
    others = {name: f"{name}.parquet" for name in ("test", "target")}
    shifted = {"shifted": {TURNED: f"{TURNED}.parquet"}}
    return {
        "name": arm,
        "seed": seed,
        "tasks": {
            "task": {
                "kind": "classification",
                "labels": labels,
                "encoder": {"kind": "gradients"},
                "domains": {"domain": {**domain, **others, **shifted}},
            }
        },
        "budget": {"labels": BUDGET, "per_round": BUDGET // ROUNDS},
        "annotation": {"backend": "sheet"},
    }


def _outcome(run: Run, truth: Mapping[str, str]) -> Outcome:
    run_by_sheets(run, lambda row: truth.get(row["sample_id"]) or row["suggestion"])
    last = run.finished_rounds
    found = run.storage.read_record(f"{round_folder(last)}/{ROBUSTNESS}", Robustness)
    domain = found.domains["task/domain"]
    (shift,) = domain.shifts
    used = standings_of(run, last)
    return Outcome(
        shift.utility.value, domain.clean.utility.value, len(used) - used["label"].null_count
    )


if __name__ == "__main__":
    main("missing_style", __doc__, run, repeats=3)
