"""How does a pass over cached features scale with the number of workers and the size of the pool?

    python -m benchmarks.scaling [--quick] [--check] [--repeats 3]

Workers: 1, 2 and 4, on a fixed pool (strong scaling) and on a pool that grows with them (weak
scaling), as tasks on warm processes; and as actors, measured from the first to the last finished
part. Efficiency is the speed divided by that of one worker and by the number of workers that have
their own core.

Pool: up to 10 million rows, each size with a new Ray: the speed of warm passes and the peak memory
of all processes. Then the best candidates of all parts are merged, as in a round, and compared with
a sort of all scores.

A full run needs 10 GB in /tmp.
"""

import os
import time

import numpy as np

from benchmarks.cost import PlainProcess, memory_mb, peak_memory
from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.scoring import (
    DIMENSION,
    DOMAIN,
    FEATURES,
    KIND,
    ROUND,
    ROWS_PER_PART,
    SPECIALISTS,
    TOP,
    pool,
    scorer,
)
from umc_ray.cluster.stream import Compute, stream
from umc_ray.methods.scoring import top_m
from umc_ray.records import IntArray, Part
from umc_ray.selection import batch
from umc_ray.selection.batch import DomainBatchSpec
from umc_ray.storage import Storage

CORES = os.cpu_count() or 1
WORKERS = (1, 2, 4)
Figures = dict[str, Figure]


def run(options: Options) -> Report:
    """Measure workers and pool sizes; workers run on a tenth of the largest pool."""
    sizes = (10_000, 100_000) if options.quick else (10_000, 100_000, 1_000_000, 10_000_000)
    with pool(sizes[-1]) as (storage, parts):
        some = parts if options.quick else parts[: len(parts) // 10]
        figures = _worker_figures(storage, some, options.repeats)
        figures |= _pool_figures(storage, parts, sizes, options.repeats)
        top, failures = _top_figures(storage, parts, figures[f"rows_{sizes[-1]}_per_s"].median)
    return Report(
        workload={
            "rows": sizes[-1],
            "rows for the workers": sum(part.rows for part in some),
            "dimension": DIMENSION,
            "specialists": len(SPECIALISTS),
            "rows per part": ROWS_PER_PART,
            "cores": CORES,
        },
        figures=figures | top,
        failures=failures,
    )


def _worker_figures(storage: Storage, parts: list[Part], repeats: int) -> Figures:
    figures: Figures = {}
    share = len(parts) // max(WORKERS)
    for workers in WORKERS:
        with local_ray(workers):
            figures[f"strong_{workers}"] = _speeds(storage, parts, repeats)
            figures[f"weak_{workers}"] = _speeds(storage, parts[: share * workers], repeats)
            actors = [actor_speed(storage, parts, workers) for _ in range(repeats)]
            figures[f"actors_{workers}"] = Figure("rows/s", actors)
    for kind in ("strong", "weak", "actors"):
        alone = figures[f"{kind}_1"].median
        for workers in WORKERS[1:]:
            values = figures[f"{kind}_{workers}"].values
            efficiencies = [value / alone / min(workers, CORES) for value in values]
            figures[f"{kind}_{workers}_efficiency"] = Figure("of linear", efficiencies)
    return figures


def _speeds(storage: Storage, parts: list[Part], repeats: int) -> Figure:
    """Score the parts repeatedly; the first pass, which starts the processes, does not count."""
    seconds = [_pass_seconds(storage, parts) for _ in range(repeats + 1)]
    rows = sum(part.rows for part in parts)
    return Figure("rows/s", [rows / each for each in seconds[1:]])


def _pass_seconds(storage: Storage, parts: list[Part]) -> float:
    storage.delete("rounds")
    began = time.perf_counter()
    stream(scorer(storage), parts, Compute())
    return time.perf_counter() - began


def actor_speed(storage: Storage, parts: list[Part], actors: int) -> float:
    """Return rows per second between the first and the last finished part."""
    storage.delete("rounds")
    done: list[tuple[float, int]] = []
    stream(
        scorer(storage),
        parts,
        Compute(actors),
        lambda rows: done.append((time.perf_counter(), rows)),
    )
    return sum(rows for _, rows in done[1:]) / (done[-1][0] - done[0][0])


def _pool_figures(
    storage: Storage, parts: list[Part], sizes: tuple[int, ...], repeats: int
) -> Figures:
    figures: Figures = {}
    for rows in sizes:
        with local_ray(CORES), peak_memory() as peak:
            speeds = _speeds(storage, parts[: rows // ROWS_PER_PART], repeats)
        figures[f"rows_{rows}_per_s"] = speeds
        figures[f"rows_{rows}_mb"] = Figure("MB", [peak[0]])
    before, last = (figures[f"rows_{rows}_mb"].median for rows in sizes[-2:])
    figures["memory_growth"] = Figure("times", [last / before])
    return figures


def _top_figures(
    storage: Storage, parts: list[Part], rows_per_s: float
) -> tuple[Figures, list[str]]:
    """Merge the best candidates of all parts in a separate process."""
    with PlainProcess() as process:
        seconds, megabytes, ids_N = process.pool.submit(merge, storage, parts).result()
    figures = {
        "top_s": Figure("s", [seconds]),
        "top_share": Figure("of a pass", [seconds * rows_per_s / sum(p.rows for p in parts)]),
        "top_mb": Figure("MB", [megabytes]),
    }
    same = np.array_equal(ids_N, _sorted_out(storage, parts))
    return figures, [] if same else ["the merged candidates are not the best of all scores"]


def merge(storage: Storage, parts: list[Part]) -> tuple[float, float, IntArray]:
    """Merge the best of all parts; returns seconds, additional memory in MB, and ids."""
    share = DomainBatchSpec(
        domain_key=DOMAIN,
        kind=KIND,
        labels=TOP,
        audits=0,
        parts=tuple(parts),
        features=FEATURES,
        order_size=0,
        queried=np.empty(0, np.int64),
        scores=ROUND,
        seed=0,
    )
    before = memory_mb()
    with peak_memory() as peak:
        began = time.perf_counter()
        best = batch.most_informative(
            storage, share.parts, f"{share.scores}/top", share.queried, TOP
        )
        seconds = time.perf_counter() - began
    return seconds, max(peak[0] - before, 0.0), best["sample_id"].to_numpy()


def _sorted_out(storage: Storage, parts: list[Part]) -> IntArray:
    """Return the ids of the best candidates from all scores at once."""
    tables = [storage.read_table(p.key(f"{ROUND}/scores"), ["sample_id", "margin"]) for p in parts]
    ids_N = np.concatenate([table["sample_id"].to_numpy() for table in tables])
    margins_N = np.concatenate([table["margin"].to_numpy() for table in tables])
    best: IntArray = ids_N[top_m(1 - margins_N, ids_N, TOP)]
    return best


if __name__ == "__main__":
    main("scaling", __doc__, run, repeats=3)
