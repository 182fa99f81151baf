"""Does it pay to choose questions by uncertainty, where people mark answers in dialogues?

    python -m benchmarks.qa_curve [--quick] [--check] [--repeats 5]

A reader (benchmarks/qa.py) of 100 questions chooses 100 more among 300, the least certain ones or
at random, and learns anew from both; F1 on 400 questions of other episodes, paired by seed.
"""

from collections.abc import Sequence
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.qa import KIND, IntArray, Reader, episodes_apart
from umc_ray.demo.dialogues import Question

FIRST, MORE, POOL, TESTS = 100, 100, 400, 400
ACQUISITION = "margin"
"""The default of campaigns."""


def run(options: Options) -> Report:
    """Compare what readers choose with a random choice."""
    torch.set_num_threads(1)
    scale = 4 if options.quick else 1
    found: dict[str, list[float]] = {}
    for seed in range(options.repeats):
        pool, test = episodes_apart(seed)
        for name, value in _compared(pool[: POOL // scale], test[:TESTS], seed, scale).items():
            found.setdefault(name, []).append(value)
    workload = {"first": FIRST // scale, "more": MORE // scale, "pool": POOL // scale}
    return Report(workload, {name: Figure("F1", values) for name, values in found.items()})


def _compared(
    pool: Sequence[Question], test: Sequence[Question], seed: int, scale: int
) -> dict[str, float]:
    first, more = FIRST // scale, MORE // scale
    rest = np.arange(first, len(pool))
    with TemporaryDirectory() as folder:
        reader = Reader(folder, pool[:first], seed)
        before = float(reader.answer(test).f1_N.mean())
        said = reader.answer(pool[first:])
    uncertain_N = KIND.acquisition(said.measures, ACQUISITION).numpy()
    chosen = {
        "uncertain": rest[np.argsort(-uncertain_N, kind="stable")[:more]],
        "random": np.random.default_rng(seed).permutation(rest)[:more],
    }
    f1 = {name: _f1_after(pool, first, rows, test, seed) for name, rows in chosen.items()}
    return {"before": before, **f1, "uncertain_over_random": f1["uncertain"] - f1["random"]}


def _f1_after(
    pool: Sequence[Question], first: int, rows: IntArray, test: Sequence[Question], seed: int
) -> float:
    labeled = [*pool[:first], *(pool[row] for row in rows.tolist())]
    with TemporaryDirectory() as folder:
        return float(Reader(folder, labeled, seed).answer(test).f1_N.mean())


if __name__ == "__main__":
    main("qa_curve", __doc__, run, repeats=5)
