"""What do shrunk thresholds of groups do for fairness, and what do they cost?

    python -m benchmarks.group_thresholds [--quick] [--check] [--repeats 6]

The sets, pools and tests of benchmarks/fairness.py with 600 and 2,000 labels that are drawn at
random, so that one fit serves all arms: the product's linear head with the common threshold; with
its thresholds of groups (`fairness.thresholds`), which are fitted to held-out predictions and
shrunk; with the same, not shrunk; and with fairlearn's ThresholdOptimizer. EOD is the
equalized-odds difference on the test set, between any two of six groups.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from rich.table import Table

from benchmarks.fairness import SETS, SIZES, SMALLEST, Measured, World
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.thresholds import group_thresholds
from umc_ray.methods.group_thresholds import SHRINKAGE, group_shift
from umc_ray.records import FloatArray, IntArray

COMMON, SHRUNK, WHOLE, PEER = "common", "shrunk", "not shrunk", "fairlearn"

Arms = Mapping[str, Measured]


def run(options: Options) -> Report:
    """Fit all sets and sizes."""
    torch.set_num_threads(1)
    figures, table = dict[str, Figure](), Table(title="means over seeds, in points")
    for column in ("set, labels", "arm", "accuracy", "EOD", "lowest", "highest"):
        table.add_column(column)
    for name in ["compas"] if options.quick else SETS:
        worlds = [World.of(SETS[name](), seed) for seed in range(options.repeats)]
        for size in SIZES[: 1 if options.quick else None]:
            arms = [_measured(world, size, seed) for seed, world in enumerate(worlds)]
            figures |= _figures(f"{name}_{size}", arms)
            _add_rows(table, f"{name}, {size}", arms)
    workload = {"sets": list(SETS), "labels": list(SIZES), "seeds": options.repeats}
    return Report(workload, figures, tables=[table])


def _measured(world: World, size: int, seed: int) -> Arms:
    known = np.random.default_rng([seed, 1]).permutation(world.pool)[:size]
    head, held_out_NC = world.fitted(known, 0.0)
    odds_N, tests_M = _log_odds(held_out_NC), _log_odds(np.log(world.probs(head, world.tests)))
    shifts = _shifts(world, known, odds_N)
    groups_M = world.groups_N[world.tests]
    factors = {group: shift * _unshrunk(world, known, group) for group, shift in shifts.items()}
    peer_M = group_thresholds(
        world.probs(head, known),
        world.targets_N[known],
        world.groups_N[known],
        world.probs(head, world.tests),
        groups_M,
    )
    return {
        COMMON: world.measure((tests_M > 0).astype(np.int64)),
        SHRUNK: world.measure(_decided(tests_M, groups_M, shifts)),
        WHOLE: world.measure(_decided(tests_M, groups_M, factors)),
        PEER: world.measure(peer_M),
    }


def _log_odds(outputs_NC: FloatArray) -> FloatArray:
    odds_N: FloatArray = outputs_NC[:, 1] - outputs_NC[:, 0]
    return odds_N


def _shifts(world: World, known: IntArray, odds_N: FloatArray) -> dict[int, float]:
    groups_N, positive_N = world.groups_N[known], world.targets_N[known] == 1
    sizes = np.bincount(groups_N)
    return {
        int(group): group_shift(
            odds_N.astype(np.float64), positive_N, np.ones(len(known)), groups_N == group
        )
        for group in np.flatnonzero(sizes >= SMALLEST)
    }


def _unshrunk(world: World, known: IntArray, group: int) -> float:
    """Return what undoes the shrinkage of a group's shift."""
    own_N = world.groups_N[known] == group
    cases = min(np.sum(own_N & (world.targets_N[known] == side)) for side in (0, 1))
    return float((cases + SHRINKAGE) / max(cases, 1))


def _decided(odds_M: FloatArray, groups_M: IntArray, shifts: Mapping[int, float]) -> IntArray:
    shift_M = np.array([shifts.get(group, 0.0) for group in groups_M.tolist()])
    decided_M: IntArray = (odds_M + shift_M > 0).astype(np.int64)
    return decided_M


def _figures(name: str, arms: Sequence[Arms]) -> dict[str, Figure]:
    """Return what each arm adds to EOD and takes of accuracy, by seed."""
    figures = {}
    for arm in (SHRUNK, WHOLE, PEER):
        key = f"{name}/{arm.replace(' ', '_')}"
        eod = [100 * (each[arm].eod - each[COMMON].eod) for each in arms]
        lost = [100 * (each[COMMON].accuracy - each[arm].accuracy) for each in arms]
        figures[f"{key}_eod"] = Figure("points of EOD more than common", eod)
        figures[f"{key}_lost"] = Figure("points of accuracy below common", lost)
    return figures


def _add_rows(table: Table, name: str, arms: Sequence[Arms]) -> None:
    for arm in arms[0]:
        eods = [100 * each[arm].eod for each in arms]
        numbers = np.mean([100 * each[arm].accuracy for each in arms]), np.mean(eods)
        table.add_row(name, arm, *(f"{each:.1f}" for each in (*numbers, min(eods), max(eods))))


if __name__ == "__main__":
    main("group_thresholds", __doc__, run, repeats=6)
