"""How many labels does it cost to choose a round before the last one is labeled?

    python -m benchmarks.overlap [--quick] [--check] [--repeats 5]

With `annotation.overlap` people never wait for machines, and each round is chosen by specialists
that know one round less. Campaigns of equal rounds with the product's default strategy, on real
sets (benchmarks/sets.py) with a tuned probe (benchmarks/probe.py), paired by seed: the newest model
against the one before it, and samples drawn at random. `more` is the share of labels that overlap
takes more to a share of the accuracy of all labels; what does not arrive counts as arriving with
its last label.
"""

from typing import Any

import numpy as np

from benchmarks.arms import ARMS
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.probe import Split, full_accuracy, play, scaled
from benchmarks.sets import load
from benchmarks.verdict import Runs, areas, labels_needed
from umc_ray.config.campaign import SelectionConfig

SETS = ("digits/scans", "questions/trec", "spam/sms")
ROUNDS, PER_ROUND = 12, 50
SHARES = (0.95, 0.98)
DEFAULT = SelectionConfig().strategy


def run(options: Options) -> Report:
    """Play the campaigns."""
    figures: dict[str, Figure] = {}
    for name in SETS[:1] if options.quick else SETS:
        runs = campaigns(name, options.repeats)
        short = name.replace("/", "_")
        for share in SHARES:
            fresh_S, late_S = (
                np.minimum(labels_needed(runs, arm, share), PER_ROUND * ROUNDS)
                for arm in ("newest", "overlap")
            )
            more_S = (late_S / fresh_S - 1).tolist()
            figures[f"{short}_more_{100 * share:g}"] = Figure("of labels", more_S)
        area = {arm: 100 * areas(runs, arm) for arm in ("newest", "overlap", "random")}
        for arm in ("newest", "overlap"):
            gain_S = area[arm] - area["random"]
            figures[f"{short}_{arm}_over_random"] = Figure("points of area", gain_S.tolist())
    workload = {"strategy": DEFAULT, "rounds": ROUNDS, "labels of a round": PER_ROUND}
    return Report({**workload, "seeds": options.repeats}, figures)


def campaigns(name: str, seeds: int) -> Runs:
    """Play a set with each seed: by the newest model, by the one before it, at random."""
    data = scaled(load(name))
    found: dict[str, list[dict[str, Any]]] = {"full": [], "newest": [], "overlap": [], "random": []}
    for seed in range(seeds):
        split = Split.of(data, seed)
        found["full"].append({"accuracy": full_accuracy(split)})
        for arm, strategy, behind in (
            ("newest", DEFAULT, 0),
            ("overlap", DEFAULT, 1),
            ("random", "random", 0),
        ):
            sizes = [PER_ROUND] * ROUNDS
            found[arm].append(play(split, ARMS[strategy], sizes, seed, behind))
    return found


if __name__ == "__main__":
    main("overlap", __doc__, run, repeats=5)
