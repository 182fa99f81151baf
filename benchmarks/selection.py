"""What does it cost to select 1,000 of a million samples, and how good is the selection?

    python -m benchmarks.selection [--quick] [--check]

Pools of unit vectors around 200 centers, d = 384, ten classes, a fitted probe and its
probabilities, in one thread. Each strategy of benchmarks/strategies.py runs in its own process,
with limits of 30 CPU seconds and 10 GB; peers that do not finish are listed. Strategies of the
product work as in a campaign: the exact top candidates of the whole pool, then the strategy on 20
candidates per pick.

Quality: `cover` is the mean distance of the pool to the nearest pick (lower is better), `unsure`
the mean of 1 - margin over the picks, `distinct` the number of picks that are not near-duplicates
of others. The last figures compare k-means of 100,000 vectors into 1,000 groups with faiss.

Suffixes: N samples, D dimension, C classes, B batch.
"""

import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from benchmarks.cost import memory_mb, peak_memory
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.strategies import PEERS, STRATEGIES, State, informativeness
from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.clustering import kmeans
from umc_ray.methods.coverage import squared_distances

DIMENSION, CENTERS, CLASSES = 384, 200, 10
BATCH, LABELED = 1000, 1000
NOISE = 0.7  # length of the noise added to a center of length 1
CPU_LIMIT_S, MEMORY_LIMIT = 30, 10 * 2**30
SAMPLE = 10_000  # samples used for `cover`
DEFAULT = SelectionConfig().strategy


@dataclass(frozen=True)
class Outcome:
    """The cost and the quality of one strategy."""

    cpu_s: float
    memory_mb: float
    cover: float
    unsure: float
    distinct: int


def run(options: Options) -> Report:
    """Select from pools of all sizes, then cluster."""
    sizes = (10_000,) if options.quick else (1_000_000, 10_000)
    results = {size: select_all(size, quick=options.quick) for size in sizes}
    figures = {
        f"{DEFAULT}_{name}_{size}": Figure(unit, [getattr(each[DEFAULT], name)])
        for size, each in results.items()
        for name, unit in (("cpu_s", "CPU s"), ("memory_mb", "MB over the pool"))
        if isinstance(each[DEFAULT], Outcome)
    }
    if not options.quick:
        figures |= beside_faiss()
    workload = {"batch": BATCH, "dimension": DIMENSION, "classes": CLASSES}
    return Report(workload, figures, tables=[table(size, each) for size, each in results.items()])


def select_all(size: int, quick: bool) -> dict[str, Outcome | str]:
    """Run every strategy on one pool in its own process; a text is the reason for a failure."""
    names = [name for name in STRATEGIES if not quick or name not in PEERS]
    with tempfile.TemporaryDirectory() as folder:
        write_pool(Path(folder), size)
        return {name: _alone(Path(folder), name) for name in names}


def write_pool(folder: Path, size: int) -> None:
    """Store embeddings and labels; a class is a group of centers."""
    rng = np.random.default_rng(0)
    center_KD = rng.standard_normal((CENTERS, DIMENSION), np.float32)
    center_KD /= np.linalg.norm(center_KD, axis=1, keepdims=True)
    center_N = rng.integers(CENTERS, size=size)
    x_ND = np.empty((size, DIMENSION), np.float32)
    for start in range(0, size, 100_000):
        own_N = center_N[start : start + 100_000]
        noise_ND = rng.standard_normal((len(own_N), DIMENSION), np.float32)
        block_ND = center_KD[own_N] + NOISE / DIMENSION**0.5 * noise_ND
        block_ND /= np.linalg.norm(block_ND, axis=1, keepdims=True)
        x_ND[start : start + len(own_N)] = block_ND
    np.save(folder / "x.npy", x_ND)
    np.save(folder / "y.npy", center_N % CLASSES)


def _alone(folder: Path, name: str) -> Outcome | str:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_select, folder, name).result()
        except BrokenProcessPool:
            return f"more than {CPU_LIMIT_S} CPU s"
        except MemoryError:
            return "more than 10 GB"
        except ImportError as error:
            return f"not installed: {error.name}"


def _select(folder: Path, name: str) -> Outcome:
    torch.set_num_threads(1)
    state = _state(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    limit = int(time.process_time()) + CPU_LIMIT_S
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    before, began = memory_mb(), time.process_time()
    with peak_memory() as peak:
        picks_B = STRATEGIES[name](state)
    cpu_s = time.process_time() - began
    return _judge(state, picks_B, cpu_s, max(peak[0] - before, 0.0))


def _state(folder: Path) -> State:
    x_ND, y_N = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    labeled = np.arange(LABELED)
    probe = LogisticRegression(C=10, max_iter=100).fit(x_ND[labeled], y_N[labeled])
    free = np.arange(LABELED, len(x_ND))
    probs = np.concatenate(
        [probe.predict_proba(x_ND[rows]) for rows in np.array_split(free, 1 + len(free) // 50_000)]
    ).astype(np.float32)
    return State(x_ND, labeled, y_N[labeled], free, probs, probe, BATCH, 0)


def _judge(state: State, picks_B: np.ndarray, cpu_s: float, memory: float) -> Outcome:
    x_BD = state.x_PD[picks_B]
    assert state.probs_FC is not None
    sampled = np.random.default_rng(1).permutation(len(state.x_PD))[:SAMPLE]
    nearest_N = squared_distances(state.x_PD[sampled], x_BD).min(1)
    near_BB = np.tril(squared_distances(x_BD, x_BD) <= 1e-4, -1)
    unsure = informativeness(state.probs_FC[picks_B - LABELED]).mean()
    distinct = int((~near_BB.any(1)).sum())
    return Outcome(cpu_s, memory, float(np.sqrt(nearest_N).mean()), float(unsure), distinct)


def table(size: int, results: dict[str, Outcome | str]) -> Table:
    """Return a table of all strategies."""
    out = Table(title=f"{BATCH:,} of {size:,}", title_justify="left")
    for column in ("strategy", "CPU s", "MB more", "cover", "unsure", "distinct"):
        out.add_column(column, justify="left" if column == "strategy" else "right")
    for name, each in results.items():
        if isinstance(each, str):
            out.add_row(name, each)
            continue
        cells = (f"{each.cpu_s:.2f}", f"{each.memory_mb:.0f}", f"{each.cover:.3f}")
        out.add_row(name, *cells, f"{each.unsure:.3f}", str(each.distinct))
    return out


def beside_faiss() -> dict[str, Figure]:
    """Compare our k-means with faiss: 100,000 vectors, 1,000 groups, at most 20 iterations."""
    import faiss  # optional peer

    with tempfile.TemporaryDirectory() as folder:
        write_pool(Path(folder), 100_000)
        x_ND = np.load(Path(folder) / "x.npy")
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    began = time.process_time()
    ours = kmeans(torch.from_numpy(x_ND), 1000, seed=0)
    between = time.process_time()
    theirs = faiss.Kmeans(DIMENSION, 1000, niter=20, seed=1, max_points_per_centroid=1000)
    theirs.train(x_ND)
    ended = time.process_time()
    distance_N, _ = theirs.index.search(x_ND, 1)
    return {
        "kmeans_cpu_s": Figure("CPU s", [between - began]),
        "faiss_cpu_s": Figure("CPU s", [ended - between]),
        "kmeans_cpu_ratio": Figure("of faiss", [(between - began) / (ended - between)]),
        "kmeans_inertia_ratio": Figure("of faiss", [ours.inertia / float(distance_N.sum())]),
    }


if __name__ == "__main__":
    main("selection", __doc__, run, repeats=1)
