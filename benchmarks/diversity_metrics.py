"""What does it cost to measure coverage and diversity of a million points?

    python -m benchmarks.diversity_metrics [--quick] [--check]

The points are embeddings of real texts (20 newsgroups, static vectors), each with others beside it
that differ from it by a third of the distance to its nearest neighbor in the mean, turned into 384
dimensions, which changes no distance. The labeled ones are a random sample. `error` is how far the
measured share of all points is from the exact share of some of them.

Suffixes: N points, L labeled points, D dimension.
"""

import time

import numpy as np
import numpy.typing as npt

from benchmarks.cost import memory_mb, peak_memory
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import load
from umc_ray.methods.diversity import coverage, covered, vendi
from umc_ray.methods.memorization import Nearest
from umc_ray.methods.prdc import prdc_once

Floats = npt.NDArray[np.float32]

DIMENSION = 384
SMALL, EXACT, FULL = 20_000, 100_000, 1_000_000
LABELED = 20_000
JITTER = 1 / 3  # of the mean distance to the nearest neighbor
PRDC = 5000


def run(options: Options) -> Report:
    """Measure on made points; `repeats` is how often."""
    size, exact, labeled = (
        (SMALL, SMALL // 2, SMALL // 10) if options.quick else (FULL, EXACT, LABELED)
    )
    x_ND = embeddings(size + labeled)
    x_ND, labeled_LD = x_ND[labeled:], x_ND[:labeled]
    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for name, value in measure(x_ND, labeled_LD, exact).items():
            found.setdefault(name, []).append(value)
    return Report(
        {"points": size, "labeled": labeled, "exact on": exact, "dimensions": DIMENSION},
        {name: Figure(UNITS[name], values) for name, values in found.items()},
    )


UNITS = {
    "coverage_cpu_s": "CPU s",
    "coverage_memory_mb": "MB over the points",
    "coverage": "share",
    "exact_cpu_s": "CPU s",
    "error": "share",
    "vendi_cpu_s": "CPU s",
    "vendi_error": "",
    "prdc_cpu_s": "CPU s",
}


def measure(x_ND: Floats, labeled_LD: Floats, exact: int) -> dict[str, float]:
    """Return the figures of one run."""
    before, began = memory_mb(), time.process_time()
    with peak_memory() as peak:
        share = coverage(x_ND, labeled_LD)[0]
    coverage_s, memory = time.process_time() - began, peak[0] - before
    began = time.process_time()
    exact_share = float(covered(x_ND[:exact], labeled_LD).mean())
    exact_s = time.process_time() - began
    began = time.process_time()
    vendi(x_ND)
    vendi_s = time.process_time() - began
    began = time.process_time()
    prdc_once(x_ND[:PRDC], x_ND[-PRDC:])
    prdc_s = time.process_time() - began
    return {
        "coverage_cpu_s": coverage_s,
        "coverage_memory_mb": max(memory, 0.0),
        "coverage": share,
        "exact_cpu_s": exact_s,
        "error": abs(share - exact_share),
        "vendi_cpu_s": vendi_s,
        "vendi_error": abs(vendi(x_ND[:2000])[0] - vendi_by_definition(x_ND[:2000])),
        "prdc_cpu_s": prdc_s,
    }


def vendi_by_definition(x_ND: Floats) -> float:
    """Return the score by the eigenvalues of all N x N similarities."""
    unit_ND = x_ND.astype(np.float64)
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    shares_N = np.linalg.eigvalsh(unit_ND @ unit_ND.T / len(unit_ND))
    shares_N = shares_N[shares_N > 1e-12]
    return float(np.exp(-(shares_N * np.log(shares_N)).sum()))


def embeddings(size: int) -> Floats:
    """Return real embeddings with others beside them, in random order and 384 dimensions."""
    rng = np.random.default_rng(0)
    real_ND = np.unique(load("topics/newsgroups").features_ND, axis=0)
    sample_ND = real_ND[:2000]
    nearest = float(Nearest.of(sample_ND, real_ND, np.arange(2000)).first_N.mean())
    turn_DD = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0][: real_ND.shape[1]]
    deviation_D = real_ND.std(0)
    deviation_D *= JITTER * nearest / np.linalg.norm(deviation_D)
    out_ND = np.empty((size, DIMENSION), np.float32)
    for start in range(0, size, 50_000):
        block_ND = out_ND[start : start + 50_000]
        rows = rng.integers(len(real_ND), size=len(block_ND))
        noise_ND = rng.standard_normal((len(rows), real_ND.shape[1]), np.float32) * deviation_D
        block_ND[:] = (real_ND[rows] + noise_ND) @ turn_DD.astype(np.float32)
    return out_ND


if __name__ == "__main__":
    main("diversity_metrics", __doc__, run, repeats=1)
