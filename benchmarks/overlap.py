"""How many more labels are needed if a round is chosen before the last one is labeled?

    python -m benchmarks.overlap [--quick] [--check] [--repeats 5]

With `annotation.overlap`, people never wait for machines, but each round is chosen by specialists
that lack the labels of the previous round. Campaigns with equal rounds and the product's default
strategy on real sets (benchmarks/sets.py) with a tuned probe (benchmarks/probe.py), paired by seed:
the newest model, the one before it, and random samples. `more` is the share of additional labels
that overlap needs to reach a share of the full accuracy. A campaign that does not reach it counts
with all of its labels.
"""

from typing import Any

import numpy as np

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import Split, full_accuracy, play, scaled
from benchmarks.sets import load
from benchmarks.strategies import STRATEGIES
from benchmarks.verdict import Runs, areas, labels_needed
from umc_ray.config.campaign import SelectionConfig

SETS = ("digits/scans", "questions/trec", "spam/sms")
ROUNDS, PER_ROUND = 12, 50
SHARES = (0.95, 0.98)
DEFAULT = SelectionConfig().strategy


def run(options: Options) -> Report:
    """Run the campaigns."""
    figures: dict[str, Figure] = {}
    for name in SETS[:1] if options.quick else SETS:
        runs = campaigns(name, options.repeats)
        short = name.replace("/", "_")
        for share in SHARES:
            fresh_S, late_S = (
                np.minimum(labels_needed(runs, variant, share), PER_ROUND * ROUNDS)
                for variant in ("newest", "overlap")
            )
            more_S = (late_S / fresh_S - 1).tolist()
            figures[f"{short}_more_{100 * share:g}"] = Figure("of labels", more_S)
        area = {variant: 100 * areas(runs, variant) for variant in ("newest", "overlap", "random")}
        for variant in ("newest", "overlap"):
            gain_S = area[variant] - area["random"]
            figures[f"{short}_{variant}_over_random"] = Figure("points of area", gain_S.tolist())
    workload = {"strategy": DEFAULT, "rounds": ROUNDS, "labels of a round": PER_ROUND}
    return Report({**workload, "seeds": options.repeats}, figures)


def campaigns(name: str, seeds: int) -> Runs:
    """Run a set with each seed: with the newest model, the one before it, and at random."""
    data = scaled(load(name))
    runs: dict[str, list[dict[str, Any]]] = {"full": [], "newest": [], "overlap": [], "random": []}
    for seed in range(seeds):
        split = Split.of(data, seed)
        runs["full"].append({"accuracy": full_accuracy(split)})
        for variant, strategy, behind in (
            ("newest", DEFAULT, 0),
            ("overlap", DEFAULT, 1),
            ("random", "random", 0),
        ):
            sizes = [PER_ROUND] * ROUNDS
            runs[variant].append(play(split, STRATEGIES[strategy], sizes, seed, behind))
    return runs


if __name__ == "__main__":
    main("overlap", __doc__, run, repeats=5)
