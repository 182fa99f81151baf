"""Does a campaign choose the same samples if its networks score only what heads find informative?

    python -m benchmarks.rescore [--quick] [--check] [--repeats 1]

A campaign on the TREC questions with a head and a fine-tuned network over MiniLM, and with
`training.rescore: candidates`. After each round, the network scores the whole pool as well, and the
next batch is chosen from the scores of the same ensemble a second time. `same` is the share of
the selected samples that are in both batches; audits, which are drawn, do not count. CPU seconds
are those of the network's outputs for pool and tests on one thread, each way with what it has kept
of earlier rounds: outputs of a network that is kept, and of the frozen layers.
"""

import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.sets import questions, sentence_encoder
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.documents import Allocation, Training
from umc_ray.campaign.round import choose_batch, split_budget
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import score_pool
from umc_ray.campaign.state import round_folder
from umc_ray.cluster.stream import run_item
from umc_ray.config.loading import load_campaign
from umc_ray.passes.encode import EncodeItem, EncodeWorker
from umc_ray.passes.outputs import TunedEncoding, tuned_encodings
from umc_ray.passes.rescore import RescoreWorker, read_outputs, rows_to_rescore
from umc_ray.specialists.ensemble import heads_key

POOL, TESTS = 5000, 400
ROUNDS, PER_ROUND = 5, 50
CANDIDATES = (50, 10)
"""Candidates per label: the default, and few."""


@dataclass(frozen=True)
class Found:
    """What a round gave: the share of equal choices, and CPU seconds of outputs both ways."""

    labels: int
    rescored: int
    same: float
    seconds_all: float
    seconds_some: float


def run(options: Options) -> Report:
    """Run the campaigns."""
    torch.set_num_threads(1)
    figures, table = dict[str, Figure](), Table()
    for name in ("candidates per label", "labels", "re-scored", "same", "CPU s, all", "CPU s"):
        table.add_column(name, justify="right")
    rounds = 2 if options.quick else ROUNDS
    for candidates in CANDIDATES[:1] if options.quick else CANDIDATES:
        found = []
        for seed in range(options.repeats):
            with TemporaryDirectory(prefix="umc") as folder, local_ray(2):
                found += _campaign(Path(folder), candidates, seed, rounds)
        for each in found:
            seconds = [f"{each.seconds_all:.1f}", f"{each.seconds_some:.1f}"]
            counts = [str(candidates), str(each.labels), str(each.rescored)]
            table.add_row(*counts, f"{each.same:.0%}", *seconds)
        saved = 1 - sum(x.seconds_some for x in found) / sum(x.seconds_all for x in found)
        figures[f"same_{candidates}"] = Figure("of a batch", [each.same for each in found])
        figures[f"saved_{candidates}"] = Figure("of CPU seconds", [saved])
    workload = {"pool": POOL, "rounds": rounds, "labels of a round": PER_ROUND}
    return Report({**workload, "seeds": options.repeats}, figures, tables=[table])


def _campaign(folder: Path, candidates: int, seed: int, rounds: int) -> list[Found]:
    """Run a campaign, and compare what it chooses after each round but the last."""
    values = _values(folder, candidates, seed)
    found = []
    for number in range(1, rounds):
        values["stop"] = {"labels": number * PER_ROUND}
        run_campaign(_run(folder, values))
        found.append(_compared(folder, values, number))
        sys.stderr.write(f"{candidates} candidates per label: {found[-1]}\n")
    return found


def _values(folder: Path, candidates: int, seed: int) -> dict[str, Any]:
    rows = list(dict.fromkeys(questions()))
    random.Random(seed).shuffle(rows)
    for name, some in (("pool", rows[TESTS : TESTS + POOL]), ("test", rows[:TESTS])):
        texts, labels = zip(*some, strict=True)
        pq.write_table(pa.table({"text": texts, "label": labels}), folder / f"{name}.parquet")
    domain = {"source": str(folder / "pool.parquet"), "test": str(folder / "test.parquet")}
    task = {
        "kind": "classification",
        "labels": sorted({label for _, label in rows}),
        "encoder": {"kind": "transformers", "path": sentence_encoder().path, "max_tokens": 64},
        "specialists": {"head": {}, "tuned": {"kind": "top_layers"}},
        "domains": {"trec": {**domain, "text": "text", "label": "label"}},
    }
    return {
        "name": "questions",
        "storage": str(folder / "some"),
        "seed": seed,
        "tasks": {"kinds": task},
        "budget": {"labels": ROUNDS * PER_ROUND, "per_round": PER_ROUND},
        "selection": {"candidates_per_label": candidates},
        "training": {"rescore": "candidates"},
        "annotation": {"backend": "replay"},
    }


def _run(folder: Path, values: dict[str, Any], storage: str = "some") -> Run:
    path = folder / f"{storage}.yaml"
    path.write_text(yaml.safe_dump({**values, "storage": str(folder / storage)}))
    return Run(load_campaign(path))


def _compared(folder: Path, values: dict[str, Any], number: int) -> Found:
    """Choose the batch after a round both ways, and compute the network's outputs both ways."""
    for copy in ("all", "again"):
        unlike = shutil.ignore_patterns("outputs", "lower", heads_key("").strip("/"))
        shutil.copytree(folder / "some", folder / copy, dirs_exist_ok=True, ignore=unlike)
    run, whole = _run(folder, values), _run(folder, values, "all")
    training = run.training(number + 1)
    assert training is not None
    rescored, seconds_some = _some(run, _run(folder, values, "again"), training)
    seconds_all = _all(whole, training)
    for name in ("scores", "top"):
        whole.storage.delete(f"{round_folder(number)}/{name}")
    score_pool(whole, number, training, lambda _: None)
    allocation = split_budget(run, number + 1)
    some, every = (_chosen(each, number + 1, allocation) for each in (run, whole))
    same = len(some & every) / len(every)
    return Found(number * PER_ROUND, rescored, same, seconds_all, seconds_some)


def _chosen(run: Run, number: int, allocation: Allocation) -> set[int]:
    batch = choose_batch(run, number, allocation)
    return set(batch.filter(pa.compute.invert(batch["audit"]))["sample_id"].to_pylist())


def _encodings(run: Run, training: Training) -> dict[tuple[str, str], TunedEncoding]:
    return tuned_encodings(training.ensembles, run.config.tasks, run.parts, run.storage)


def _some(run: Run, again: Run, training: Training) -> tuple[int, float]:
    """Compute the outputs that a run has once more; returns samples of the pool, CPU seconds."""
    encodings, wanted = _encodings(again, training), {}
    for (_, _), encoding in encodings.items():
        for part in run.pools:
            outputs_NC = read_outputs(run.storage, part, encoding.table)
            assert outputs_NC is not None
            wanted[part] = np.flatnonzero(np.isfinite(outputs_NC).all(axis=1))
    items = rows_to_rescore(encodings, again.parts, wanted, again.storage)
    outputs = {name: kind.outputs for name, kind in again.kinds.items()}
    worker = RescoreWorker(again.storage, encodings, outputs, "done")
    began = time.process_time()
    for item in items:
        run_item(worker, item)
    seconds = time.process_time() - began
    return sum(len(rows) for rows in wanted.values()), seconds


def _all(whole: Run, training: Training) -> float:
    """Compute the outputs of all samples that have none; returns CPU seconds."""
    worker = EncodeWorker(whole.storage, _encodings(whole, training))
    items = [EncodeItem(part, name) for _, name in worker.encoders for part in whole.parts]
    began = time.process_time()
    for item in items:
        if not whole.storage.exists(worker.output_key(item)):
            run_item(worker, item)
    return time.process_time() - began


if __name__ == "__main__":
    main("rescore", __doc__, run, repeats=1)
