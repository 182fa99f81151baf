"""What does the smallest round of a campaign cost, and its pass and training in particular?

    python -m benchmarks.startup [--quick] [--check] [--repeats 6]

The demo campaign with 40 samples in each of its six domains, answered by replay: so little work
that only the overhead is measured. The first round starts worker processes, later ones reuse them.
Then the pass and the training of the last round are repeated in turns with plain code: the same
parts and specialists in sequence, in one process without Ray.

Last, the CPU time of `umc --help`, `umc status` and `umc account`, which people wait for; that of
`umc status` also after a run on a million rows (`large`), and where a file has changed since then
without a run, so that it is computed anew.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from benchmarks.cost import Cost, Meter, PlainProcess, cost_of
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.documents import Training
from umc_ray.campaign.learning import train
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import score_pool
from umc_ray.campaign.stages import NullListener
from umc_ray.campaign.state import round_folder, round_folders
from umc_ray.cluster.stream import run_item
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.loading import load_campaign
from umc_ray.demo.show import write_campaigns
from umc_ray.methods import heads
from umc_ray.passes.score import ScoreWorker
from umc_ray.records import Part
from umc_ray.selection.labeled import examples_by_task
from umc_ray.specialists.specialist import Examples

CPUS = 2
POOL_ROWS, TEST_ROWS = 40, 20
LABELS_PER_ROUND = 24
LARGE_ROWS, QUICK_ROWS, DIMENSION = 1_000_000, 20_000, 16
STAGES = ("batch", "labels", "training", "scores")


class Stopwatch(NullListener):
    """Records the duration of the stages of a run, and the total cost after each round."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.stages: dict[str, list[float]] = defaultdict(list)
        self.rounds: list[Cost] = []

    def end(self, stage: str, seconds: float) -> None:
        """Record the duration of a stage."""
        name = stage.rpartition("/")[2]
        self.stages[name].append(seconds)
        if name in ("encode", "bandit"):  # before the first round, and at the end of each
            self.rounds.append(Cost(time.perf_counter(), self.meter.seconds()))

    def costs(self) -> list[Cost]:
        """Return the cost of each round."""
        pairs = zip(self.rounds, self.rounds[1:], strict=False)
        return [Cost(b.wall_s - a.wall_s, b.cpu_s - a.cpu_s) for a, b in pairs]


def run(options: Options) -> Report:
    """Run a tiny campaign; then repeat its last pass and training in turns with plain code."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        config = tiny_campaign(Path(folder), 1 + options.repeats)
        began = time.perf_counter()
        with local_ray(CPUS), PlainProcess() as process:
            started = time.perf_counter() - began
            with Meter() as meter:
                stopwatch = Stopwatch(meter)
                tiny = Run(config, stopwatch)
                run_campaign(tiny)
            alone = _last_round(tiny, options.repeats, process)
        commands = command_costs(Path(folder) / "demo.yaml", options.repeats)
        rows = QUICK_ROWS if options.quick else LARGE_ROWS
        commands |= large_run_costs(Path(folder), rows, options.repeats)
    first, *later = stopwatch.costs()
    return Report(
        workload={
            "domains": len(config.domains()),
            "pool rows": POOL_ROWS,
            "test rows": TEST_ROWS,
            "large rows": rows,
            "labels per round": LABELS_PER_ROUND,
            "CPUs": CPUS,
            "seed": config.seed,
        },
        figures={
            "ray_start_s": Figure("s", [started]),
            "first_round_s": Figure("s", [first.wall_s]),
            "round_s": Figure("s", [each.wall_s for each in later]),
            "round_cpu_s": Figure("CPU s", [each.cpu_s for each in later]),
            **{f"{name}_stage_s": Figure("s", stopwatch.stages[name][1:]) for name in STAGES},
            **alone,
            **commands,
        },
    )


def command_costs(path: Path, repeats: int) -> dict[str, Figure]:
    """Return the CPU time of commands that only read or write a few rows."""
    commands = {
        "help": ["--help"],
        "status": ["status", str(path)],
        "account": ["account", str(path), "ada", "--role", "admin"],
    }
    costs: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + repeats):  # the first status and the first account store what is read later
        for name, arguments in commands.items():
            costs[name].append(_cpu_s(["-m", "umc_ray.cli", *arguments]))
    return {f"umc_{name}_cpu_s": Figure("CPU s", each[1:]) for name, each in costs.items()}


def large_run_costs(folder: Path, rows: int, repeats: int) -> dict[str, Figure]:
    """Return the CPU time of `umc status` after a run on many rows, stored and computed anew."""
    path = _large_campaign(folder, rows)
    run_it = [sys.executable, "-m", "umc_ray.cli", "run", str(path)]
    subprocess.run(run_it, stdout=subprocess.DEVNULL, check=True)
    metrics = Path(Run(load_campaign(path)).storage.path(f"{round_folder(1)}/metrics.json"))
    stored, anew = [], []
    for _ in range(repeats):
        stored.append(_cpu_s(["-m", "umc_ray.cli", "status", str(path)]))
        metrics.touch()
        anew.append(_cpu_s(["-m", "umc_ray.cli", "status", str(path)]))
    return {
        "umc_status_large_cpu_s": Figure("CPU s", stored),
        "umc_status_anew_cpu_s": Figure("CPU s", anew),
    }


def _large_campaign(folder: Path, rows: int) -> Path:
    """Write a campaign of one round on embeddings that its source has."""
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 2, rows)
    x_ND = rng.normal(size=(rows, DIMENSION)).astype(np.float32) + labels_N[:, None]
    columns = {
        "text": [f"sample {number}" for number in range(rows)],
        "label": np.where(labels_N, "good", "bad"),
        "vector": pa.ListArray.from_arrays(
            np.arange(0, rows * DIMENSION + 1, DIMENSION, dtype=np.int32), x_ND.ravel()
        ),
    }
    pq.write_table(pa.table(columns), folder / "large.parquet")
    named = {"text": "text", "label": "label", "embedding": "vector"}
    task = {
        "kind": "classification",
        "input": "text",
        "labels": ["bad", "good"],
        "encoder": {"kind": "given", "dimension": DIMENSION},
        "domains": {"posts": {"source": str(folder / "large.parquet"), **named}},
    }
    values = {
        "name": "large",
        "storage": str(folder / "runs"),
        "tasks": {"mood": task},
        "budget": {"labels": LABELS_PER_ROUND, "per_round": LABELS_PER_ROUND},
        "annotation": {"backend": "replay"},
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def _cpu_s(arguments: Sequence[str]) -> float:
    """Return the CPU time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "UMC_PASSWORD": "correct horse"}
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tiny_campaign(folder: Path, rounds: int) -> CampaignConfig:
    """Return the demo campaign, reduced to the first rows of each file."""
    path, _ = write_campaigns(folder)
    values = yaml.safe_load(path.read_text())
    for task in values["tasks"].values():
        for domain in task["domains"].values():
            domain["source"] = _cut(Path(domain["source"]), POOL_ROWS, folder / "pool")
            domain["test"] = _cut(Path(domain["test"]), TEST_ROWS, folder / "test")
    values["budget"] = {"labels": rounds * LABELS_PER_ROUND, "per_round": LABELS_PER_ROUND}
    path.write_text(yaml.safe_dump(values))
    return load_campaign(path)


def _cut(file: Path, rows: int, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    pq.write_table(pq.read_table(file)[:rows], folder / file.name)
    return str(folder / file.name)


def _last_round(tiny: Run, repeats: int, process: PlainProcess) -> dict[str, Figure]:
    """Measure the pass and the training of the last round in turns with the plain code."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    number = tiny.config.budget.labels // LABELS_PER_ROUND
    training = tiny.storage.read_record(f"{round_folder(number)}/training.json", Training)
    examples = examples_by_task(
        tiny.storage,
        round_folders(number),
        tiny.excluded(),
        tiny.order_size,
        tiny.pools,
        tiny.features,
        tiny.kinds,
    )
    plain = _plain_worker(tiny, training)
    for repeat in range(repeats + 1):
        tiny.storage.delete(f"{round_folder(number)}/scores")
        measured = {
            "pass": cost_of(score_pool, tiny, number, training, lambda rows: None),
            "plain_pass": process.cost_of(plain_pass, plain, tiny.parts),
            "training": cost_of(train, tiny, number),
            "plain_training": process.cost_of(plain_training, tiny.config, examples),
        }
        if repeat:  # the first time is a warm-up
            for name, cost in measured.items():
                costs[name].append(cost)
    figures = {}
    for name, each in costs.items():
        figures[f"{name}_s"] = Figure("s", [cost.wall_s for cost in each])
        figures[f"{name}_cpu_s"] = Figure("CPU s", [cost.cpu_s for cost in each])
    return figures


def _plain_worker(tiny: Run, training: Training) -> ScoreWorker:
    return ScoreWorker(
        storage=tiny.storage,
        table="plain",
        ensembles=training.ensembles,
        kinds=tiny.kinds,
        features=tiny.features,
        excluded=tiny.excluded(),
        acquisition=tiny.config.selection.acquisition,
        top=tiny.config.selection.candidates_per_label * LABELS_PER_ROUND,
    )


def plain_pass(worker: ScoreWorker, parts: Sequence[Part]) -> None:
    """Score the parts in sequence."""
    torch.set_num_threads(1)
    for part in parts:
        run_item(worker, part)


def plain_training(config: CampaignConfig, examples: dict[str, Examples]) -> None:
    """Fit the specialists in sequence."""
    torch.set_num_threads(1)  # more threads are slower on so few labels
    for name, task in config.tasks.items():
        labeled, kind = examples[name], task.task_kind()
        for each in task.ensemble().values():
            if each.fine_tunes:
                continue
            x_ND = labeled.features[each.encoders[0]]
            heads.fit(
                x_ND,
                labeled.targets,
                np.ones(len(x_ND), np.float32),
                np.arange(len(x_ND)) % config.training.folds,
                heads.start(each.head, 1, x_ND.shape[1], kind.outputs, each.hidden, config.seed),
                kind.loss,
            )


if __name__ == "__main__":
    main("startup", __doc__, run, repeats=6)
