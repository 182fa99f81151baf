"""What is repeated, and at what cost, when a pass loses a process, a node or its driver?

    python -m benchmarks.resume [--quick] [--check] [--repeats 3]

A driver plans a round and scores a pool of cached features on a local cluster with a head and two
nodes of one CPU. After a quarter of the parts has started, something is killed. The files must be
identical, byte by byte, to those of an undisturbed pass. A killed driver is started again. Each
pass starts its own worker processes, because Ray jobs do not share them.
"""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch

import psutil
import pyarrow as pa
import ray

from benchmarks.cluster import PASS, LocalCluster
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.scoring import DIMENSION, DOMAIN, ROWS_PER_PART, pool, scorer
from umc_ray.cluster.connect import connect
from umc_ray.methods.bandit import ArmContext
from umc_ray.passes.score import ScoreSummary, ScoreWorker, score_parts
from umc_ray.records import DomainKey, Part
from umc_ray.selection.allocator import start_allocator
from umc_ray.storage import Storage

NODES = 2
LABELS = 100
LOG, PLANS = "begun.log", "plans.json"

FAULTS: dict[str, Callable[[LocalCluster, BaseProcess], object]] = {
    "nothing": lambda cluster, driver: None,
    "process": lambda cluster, driver: cluster.kill_process(),
    "node": lambda cluster, driver: cluster.kill_node(),
    "driver": lambda cluster, driver: driver.kill(),
    "allocator": lambda cluster, driver: cluster.kill_allocator(),
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a pass."""

    seconds: float
    again: float  # repeated parts / all parts
    resumed_s: float  # from the fault until the next part starts
    hashes: dict[str, str]  # a hash of each file, and the plans


def run(options: Options) -> Report:
    """Run passes with each fault in turn."""
    rows = 200_000 if options.quick else 500_000
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    with pool(rows) as (storage, parts), LocalCluster(NODES) as cluster:
        for _ in range(options.repeats):
            for fault in FAULTS:
                outcomes[fault].append(_outcome(fault, cluster, storage, parts))
    figures = {"nothing_s": Figure("s", [each.seconds for each in outcomes["nothing"]])}
    for fault in list(FAULTS)[1:]:
        figures[f"{fault}_s"] = Figure("s", [each.seconds for each in outcomes[fault]])
        figures[f"{fault}_again"] = Figure("of parts", [each.again for each in outcomes[fault]])
    figures["driver_resumed_s"] = Figure("s", [each.resumed_s for each in outcomes["driver"]])
    return Report(
        workload={
            "rows": rows,
            "dimension": DIMENSION,
            "rows per part": ROWS_PER_PART,
            "nodes of one CPU": NODES,
        },
        figures=figures,
        failures=_differences(outcomes),
    )


def _differences(outcomes: dict[str, list[Outcome]]) -> list[str]:
    """Return the passes whose files differ from those of the first undisturbed one."""
    expected = outcomes["nothing"][0].hashes
    return [
        f"{fault}: {len(differ)} files or plans differ, such as {min(differ)}"
        for fault, runs in outcomes.items()
        for each in runs
        if (differ := {key for key, _ in each.hashes.items() ^ expected.items()})
    ]


def _outcome(fault: str, cluster: LocalCluster, storage: Storage, parts: list[Part]) -> Outcome:
    """Run a pass and inject a fault; if that kills the driver, start another one."""
    storage.delete("rounds")
    for file in (LOG, PLANS, "bandit.json"):
        Path(storage.path(file)).unlink(missing_ok=True)
    cluster.grow()
    began = time.perf_counter()
    driver = _driver(cluster, storage, parts)
    _wait_until_begun(storage, driver, len(parts) // 4)
    workers, happened = cluster.processes(*PASS), time.perf_counter()
    FAULTS[fault](cluster, driver)
    if fault == "driver":
        psutil.wait_procs(workers)  # they end shortly after their driver
        driver = _driver(cluster, storage, parts)
    before = len(_begun(storage))
    _wait_until_begun(storage, driver, before + 1)
    resumed = time.perf_counter()
    driver.join()
    return Outcome(
        seconds=time.perf_counter() - began,
        again=len(_begun(storage)) / len(parts) - 1,
        resumed_s=resumed - happened,
        hashes=_file_hashes(storage),
    )


def _driver(cluster: LocalCluster, storage: Storage, parts: list[Part]) -> BaseProcess:
    arguments = (storage.root, parts)
    driver = get_context("spawn").Process(target=drive, args=arguments)
    with patch.dict(os.environ, cluster.environment):  # read when Ray is imported
        driver.start()
    return driver


def drive(root: str, parts: list[Part]) -> None:
    """Plan a round, score the pool, and request the plan again, as a campaign might."""
    connect()
    storage = Storage(root)
    allocator = start_allocator(
        "bench", "1", policy="thompson", objective="macro", floor=0.05, seed=0, storage=storage
    )
    domain_keys = [_context(DOMAIN), _context(DomainKey("task", "other"))]
    plans = [ray.get(allocator.plan.remote(1, domain_keys, LABELS))]
    score_parts(Logged(**vars(scorer(storage))), parts)
    plans.append(ray.get(allocator.plan.remote(1, domain_keys, 2 * LABELS)))
    storage.write_json(PLANS, plans)


def _context(domain_key: DomainKey) -> ArmContext:
    return ArmContext(str(domain_key), 0.3, remaining=LABELS, pool=LABELS, cost=1.0, accuracy=None)


@dataclass(frozen=True)
class Logged(ScoreWorker):
    """The real scoring, which logs each part when it starts."""

    def process(self, item: Part) -> tuple[pa.Table, ScoreSummary]:
        """Score a part."""
        with Path(self.storage.path(LOG)).open("a") as log:
            log.write(f"{item.name}\n")
        return super().process(item)


def _begun(storage: Storage) -> list[str]:
    path = Path(storage.path(LOG))
    return path.read_text().split() if path.exists() else []


def _wait_until_begun(storage: Storage, driver: BaseProcess, parts: int) -> None:
    while len(_begun(storage)) < parts and driver.exitcode != 0:
        if driver.exitcode is not None:
            raise RuntimeError(f"the driver exited with code {driver.exitcode}")
        time.sleep(0.002)


def _file_hashes(storage: Storage) -> dict[str, str]:
    files = [*storage.keys("rounds"), PLANS]
    return {key: hashlib.blake2b(storage.read_bytes(key)).hexdigest() for key in files}


if __name__ == "__main__":
    # Workers import `Logged` by name, so it must not belong to __main__.
    main("resume", __doc__, import_module("benchmarks.resume").run, repeats=3)
