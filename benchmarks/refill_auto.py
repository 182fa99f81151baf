"""Is `refine.share: auto` as good as the best fixed share?

    python -m benchmarks.refill_auto [--quick] [--check] [--repeats 2]

The campaigns of benchmarks/refill.py, with rounds enough for trials: 200 labels in four rounds, of
a pool with 1 % of each of two rare classes. Shares of 0, 0.25 and 0.5 of a round's labels for what
is lacking, and `auto`. Recall of the worst class and macro F1, paired by seed.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.refill import SETS, Outcomes, Plan, outcomes_table, play

FIXED = ("0", "0.25", "0.5")
AUTO = "auto"
ARMS: Mapping[str, dict[str, Any]] = {
    **{share: {"refine": {"share": float(share)}} for share in FIXED},
    AUTO: {"refine": {"share": AUTO}},
}
PLAN = Plan(ARMS, budget=200, rounds=4)


def run(options: Options) -> Report:
    """Run all campaigns of all sets and seeds."""
    found: dict[str, Outcomes] = {}
    with local_ray(2):
        for name in list(SETS)[:1] if options.quick else SETS:
            rows = list(dict.fromkeys(SETS[name]()))
            seeds = [play(rows, True, seed, PLAN) for seed in range(options.repeats)]
            found[name] = {arm: [each[arm] for each in seeds] for arm in ARMS}
    figures = {
        f"{what}_{AUTO}_over_{share}/{name}": _gain(outcomes, share, what)
        for name, outcomes in found.items()
        for share in FIXED
        for what in ("worst", "macro_f1")
    }
    workload = {"bought": PLAN.budget, "rounds": PLAN.rounds, "seeds": options.repeats}
    return Report(workload, figures, tables=[outcomes_table(found)])


def _gain(outcomes: Outcomes, share: str, what: str) -> Figure:
    pairs = zip(outcomes[AUTO], outcomes[share], strict=True)
    return Figure("points", [100 * (getattr(a, what) - getattr(b, what)) for a, b in pairs])


if __name__ == "__main__":
    main("refill_auto", __doc__, run, repeats=2)
