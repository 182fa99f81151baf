"""Which policy should split the budget over the domains?

    python -m benchmarks.allocation [--quick] [--check] [--repeats 10]

Replays campaigns of 12 rounds over recorded learning curves (benchmarks/replay.py). A repeat is a
held-out seed; the policies were developed on other seeds. Each seed plays one campaign with all
twelve domains and two with eight random domains. The criterion is the area under the learning
curve. The figures are the share of the gap between an even split and a greedy oracle that a policy
closes:

- pooled, macro, worst: with accuracies averaged over the held-out seeds, the same for every policy;
- hindsight: macro, with the accuracies of the seed itself; its oracle also exploits random luck.

Then there are two stress tests: a domain with meaningless labels next to seven others (its labels
after round 5, in units of the floor), and a domain that joins in round 5 (its labels in that round,
in even shares).
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.replay import (
    FLOOR,
    LABELS,
    Bandit,
    Choose,
    Curve,
    Oracle,
    Recording,
    play,
    score,
    uniform,
)
from umc_ray.config.campaign import AllocationConfig
from umc_ray.methods.bandit import OBJECTIVES, POLICIES
from umc_ray.methods.savings import aulc, paired_interval

HELD_OUT = tuple(range(10, 20))  # seeds 0 to 9 were for development
ROUNDS = 12
SUBSETS = 2  # campaigns of eight domains, per seed
JOINS = 5  # round in which a new domain joins
DEFAULT = AllocationConfig().policy
RIVALS = [policy for policy in POLICIES if policy != "uniform"]


def run(options: Options) -> Report:
    """Run the benchmark on the held-out seeds."""
    return replay(Recording.load(), HELD_OUT[: options.repeats])


def replay(recording: Recording, seeds: Sequence[int]) -> Report:
    """Compare the policies and run the stress tests on some seeds."""
    figures: dict[str, Figure] = {}
    for objective in OBJECTIVES:
        figures |= compare(recording, seeds, objective, hindsight=False)
    figures |= compare(recording, seeds, "macro", hindsight=True)
    for policy in RIVALS:
        for name in ("junk/binary", "junk/many"):
            shares = [junk(recording, seeds, seed, policy, name) for seed in seeds]
            figures[f"{name.replace('/', '_')}_{policy}"] = Figure("floors", shares)
    for policy in RIVALS:
        shares = [newcomer(recording, seeds, seed, policy) for seed in seeds]
        figures[f"new_{policy}"] = Figure("even shares", shares)
    workload = {
        "seeds": f"{seeds[0]} to {seeds[-1]}",
        "domains": len(recording.names()),
        "rounds": ROUNDS,
        "labels per domain and round": LABELS,
        "floor": FLOOR,
    }
    return Report(workload, figures)


def compare(
    recording: Recording, seeds: Sequence[int], objective: str, hindsight: bool
) -> dict[str, Figure]:
    """Compare all policies under one objective, paired by seed."""
    even: list[float] = []
    oracle: list[float] = []
    areas: dict[str, list[float]] = {policy: [] for policy in RIVALS}
    for seed in seeds:
        campaigns = [
            [recording.curve(name, seed, (seed,) if hindsight else seeds) for name in names]
            for names in choices(recording, seed)
        ]
        even.append(mean_area(campaigns, [uniform] * len(campaigns), objective))
        oracle.append(mean_area(campaigns, [Oracle(objective)] * len(campaigns), objective))
        for policy in RIVALS:
            bandits = [Bandit(policy, objective, 100 * seed + i) for i in range(len(campaigns))]
            areas[policy].append(mean_area(campaigns, bandits, objective))
    kind = "hindsight" if hindsight else objective
    gap = float(np.mean(oracle) - np.mean(even))
    figures = {f"{kind}_even": Figure("AULC", even), f"{kind}_oracle": Figure("AULC", oracle)}
    for policy in RIVALS:
        closed = (np.subtract(areas[policy], even) / gap).tolist()
        figures[f"{kind}_{policy}"] = Figure("of the gap", closed)
    low = paired_interval(areas[DEFAULT], even).low
    figures[f"{kind}_{DEFAULT}_gain_low"] = Figure("AULC, 95 % bound", [low])
    return figures


def choices(recording: Recording, seed: int) -> list[list[str]]:
    """Return the domains of each campaign of a seed: all of them, then eight random ones."""
    names = recording.names()
    rng = np.random.default_rng(seed)
    drawn = [sorted(rng.choice(names, 8, replace=False).tolist()) for _ in range(SUBSETS)]
    return [names, *drawn]


def mean_area(
    campaigns: Sequence[Sequence[Curve]], players: Sequence[Choose], objective: str
) -> float:
    """Return the mean area under the learning curves of campaigns, each with its own player."""
    areas = []
    for curves, choose in zip(campaigns, players, strict=True):
        history = play(curves, choose, ROUNDS)
        spent = [float(labels_A.sum()) for labels_A in history]
        areas.append(aulc(spent, [score(curves, labels_A, objective) for labels_A in history]))
    return float(np.mean(areas))


def junk(recording: Recording, seeds: Sequence[int], seed: int, policy: str, name: str) -> float:
    """Return the labels of a meaningless domain after round 5, in units of the floor."""
    names = [*choices(recording, seed)[1][:7], name]
    curves = [recording.curve(each, seed, seeds) for each in names]
    history = play(curves, Bandit(policy, "macro", seed), ROUNDS)
    bought_R = np.diff([labels_A[-1] for labels_A in history])[5:]
    return float(bought_R.mean() / (LABELS * len(curves) * FLOOR))


def newcomer(recording: Recording, seeds: Sequence[int], seed: int, policy: str) -> float:
    """Return the labels of a domain in the round in which it joins, in even shares."""
    curves = [recording.curve(name, seed, seeds) for name in choices(recording, seed)[1]]
    history = play(curves, Bandit(policy, "macro", seed), JOINS, joins=JOINS)
    return float(history[-1][-1] / LABELS)


if __name__ == "__main__":
    main("allocation", __doc__, run, repeats=len(HELD_OUT))
