"""What does the smallest round of a campaign cost, and of that, its pass and its training?

    python -m benchmarks.startup [--quick] [--check] [--repeats 6]

The demo campaign with 40 samples in each of its six domains, answered by replay: so little work
that what is measured is the cost of doing it at all. The first round starts worker processes, later
ones find them. Then the last round's pass and training are done again in turns with plain code:
the same parts and specialists one after the other, in one process without Ray.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml

from benchmarks.cost import Cost, Meter, PlainProcess, cost_of
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.round import score_pool, train
from umc_ray.campaign.stages import NullListener
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.cluster.stream import run_item
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.loading import load_campaign
from umc_ray.demo.show import write_campaigns
from umc_ray.methods import heads
from umc_ray.passes.score import ScoreWorker
from umc_ray.records import Part
from umc_ray.selection.labeled import training_sets
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.training import TrainingSet

CPUS = 2
POOL_ROWS, TEST_ROWS = 40, 20
LABELS_PER_ROUND = 24
STAGES = ("batch", "labels", "training", "scores")


class Stopwatch(NullListener):
    """Follows a run: how long its stages take, and what had been spent when each round was over."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.stages: dict[str, list[float]] = defaultdict(list)
        self.rounds: list[Cost] = []

    def end(self, stage: str, seconds: float) -> None:
        """Note the time."""
        name = stage.rpartition("/")[2]
        self.stages[name].append(seconds)
        if name in ("encode", "bandit"):  # before the first round, and at the end of each
            self.rounds.append(Cost(time.perf_counter(), self.meter.seconds()))

    def costs(self) -> list[Cost]:
        """Return what each round took."""
        pairs = zip(self.rounds, self.rounds[1:], strict=False)
        return [Cost(b.wall_s - a.wall_s, b.cpu_s - a.cpu_s) for a, b in pairs]


def run(options: Options) -> Report:
    """Run a tiny campaign; then its last pass and training, in turns with plain code."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        config = tiny_campaign(Path(folder), 1 + options.repeats)
        began = time.perf_counter()
        with local_ray(CPUS), PlainProcess() as process:
            started = time.perf_counter() - began
            with Meter() as meter:
                watch = Stopwatch(meter)
                tiny = Run(config, watch)
                run_campaign(tiny)
            alone = _last_round(tiny, options.repeats, process)
    first, *later = watch.costs()
    return Report(
        workload={
            "domains": len(config.domains()),
            "pool rows": POOL_ROWS,
            "test rows": TEST_ROWS,
            "labels per round": LABELS_PER_ROUND,
            "CPUs": CPUS,
            "seed": config.seed,
        },
        figures={
            "ray_start_s": Figure("s", [started]),
            "first_round_s": Figure("s", [first.wall_s]),
            "round_s": Figure("s", [each.wall_s for each in later]),
            "round_cpu_s": Figure("CPU s", [each.cpu_s for each in later]),
            **{f"{name}_stage_s": Figure("s", watch.stages[name][1:]) for name in STAGES},
            **alone,
        },
    )


def tiny_campaign(folder: Path, rounds: int) -> CampaignConfig:
    """Cut the demo campaign down to the first rows of each file."""
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
    """Time the pass and the training of the last round, alone and beside the plain code."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    number = tiny.config.budget.labels // LABELS_PER_ROUND
    training = tiny.storage.read_json(f"{round_folder(number)}/training.json")
    folders = [round_folder(n) for n in range(1, number + 1)]
    samples = training_sets(tiny.storage, folders, tiny.excluded(), tiny.order_size)
    plain = _plain_worker(tiny, training)
    for repeat in range(repeats + 1):
        tiny.storage.delete(f"{round_folder(number)}/scores")
        found = {
            "pass": cost_of(score_pool, tiny, number, training, lambda rows: None),
            "plain_pass": process.cost_of(plain_pass, plain, tiny.parts),
            "training": cost_of(train, tiny, number),
            "plain_training": process.cost_of(plain_training, tiny.config, samples),
        }
        if repeat:  # the first time starts what the plain code needs
            for name, cost in found.items():
                costs[name].append(cost)
    figures = {}
    for name, each in costs.items():
        figures[f"{name}_s"] = Figure("s", [cost.wall_s for cost in each])
        figures[f"{name}_cpu_s"] = Figure("CPU s", [cost.cpu_s for cost in each])
    return figures


def _plain_worker(tiny: Run, training: dict[str, Any]) -> ScoreWorker:
    return ScoreWorker(
        storage=tiny.storage,
        table="plain",
        ensembles={k: EnsembleRef.from_json(v) for k, v in training["ensembles"].items()},
        features=tiny.features,
        excluded=tiny.excluded(),
        acquisition=tiny.config.selection.acquisition,
        top=tiny.config.selection.candidates_per_label * LABELS_PER_ROUND,
    )


def plain_pass(worker: ScoreWorker, parts: Sequence[Part]) -> None:
    """Score the parts one after the other."""
    torch.set_num_threads(1)
    for part in parts:
        run_item(worker, part)


def plain_training(config: CampaignConfig, samples: dict[str, TrainingSet]) -> None:
    """Fit the specialists one after the other."""
    torch.set_num_threads(1)  # more only cost, on so few labels
    for name, task in config.tasks.items():
        labeled = samples[name]
        n, dimension = labeled.embeddings_ND.shape
        for each in task.ensemble().values():
            heads.fit(
                labeled.embeddings_ND,
                labeled.labels_N,
                np.ones(n, np.float32),
                np.arange(n) % config.training.folds,
                heads.start(each.head, 1, dimension, len(task.labels), each.hidden, config.seed),
            )


if __name__ == "__main__":
    main("startup", __doc__, run, repeats=6)
