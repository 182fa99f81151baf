"""Does `umc plan` say the right number of labels?

    python -m benchmarks.plan [--quick] [--check] [--repeats 10]

Reads the first 5, 8, 12 or 20 points of recorded learning curves (benchmarks/record_curves.py) and
asks for 1, 2, 4 and 8 points of accuracy more. The truth is where the rest of the same curve, made
monotone, reaches the target. If it never does, an interval is right that has no upper end before
the last recorded label. A repeat is a held-out seed; the method was developed on seeds 0 to 4.
Accuracy is measured on the held-out test, or on audits: a tenth of the labels so far. Of audits,
only the lower end is told.

Suffixes: P points of a curve.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.table import Table
from sklearn.isotonic import IsotonicRegression

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.replay import Recording
from umc_ray.methods.intervals import Z_95, wilson_interval
from umc_ray.methods.learning_curve import Range, fit_power_laws
from umc_ray.report.plan import FARTHEST

FloatArray = npt.NDArray[np.float64]

HELD_OUT = tuple(range(10, 20))
POINTS = (5, 8, 12, 20)
GAINS = (0.01, 0.02, 0.04, 0.08)
AUDIT = 0.1


@dataclass(frozen=True)
class Case:
    """A target, what was said of it, and the truth; None: not said, or not reached."""

    domain: str
    points: int
    gain: float
    labels: float
    said: Range | None
    truth: float | None
    recorded: float  # labels of the last recorded point

    @property
    def is_bounded(self) -> bool:
        """Whether the interval has an upper end that is told."""
        return self.said is not None and self.said.high <= FARTHEST * self.labels

    @property
    def is_right(self) -> bool:
        """Whether the truth is in the interval, as far as it is recorded."""
        assert self.said is not None
        if self.truth is None:
            return self.said.high >= self.recorded
        return self.said.low <= self.truth <= self.said.high

    @property
    def error(self) -> float | None:
        """The relative error of the middle, where there is one."""
        if not self.is_bounded or self.truth is None or self.said is None:
            return None
        return abs(self.said.middle / self.truth - 1)


def run(options: Options) -> Report:
    """Ask about all targets of the held-out seeds."""
    recording = Recording.load()
    seeds = HELD_OUT[: options.repeats]
    figures: dict[str, Figure] = {}
    tables = []
    for kind in ("test", "audit"):
        by_seed = [list(cases(recording, seed, kind)) for seed in seeds]
        figures |= measured(kind, by_seed)
        tables.append(by_domain(kind, [case for some in by_seed for case in some]))
    workload = {"seeds": f"{seeds[0]} to {seeds[-1]}", "domains": len(recording.names())}
    return Report(workload, figures, tables=tables)


def cases(recording: Recording, seed: int, kind: str) -> Iterator[Case]:
    """Ask about each target of each domain."""
    for index, name in enumerate(recording.names()):
        luck = np.random.default_rng([seed, index])
        accuracy_P = np.array(recording.domains[name]["runs"][seed]["accuracy"])
        labels_P = np.cumsum(recording.blocks[: len(accuracy_P)]).astype(np.float64)
        smooth_P = IsotonicRegression().fit_transform(labels_P, accuracy_P)
        seen_P, errors_P = observed(kind, labels_P, accuracy_P, luck)
        for points in POINTS:
            if points + 4 > len(labels_P):
                continue
            seen = (each[:points].tolist() for each in (labels_P, seen_P, errors_P))
            laws = fit_power_laws(*seen)
            for gain in GAINS:
                target = smooth_P[points - 1] + gain
                said = None if laws is None else laws.labels_for(target)
                if said is not None and kind == "audit":
                    said = Range(said.low, math.inf, math.inf)
                truth = crossing(labels_P, smooth_P, target)
                yield Case(name, points, gain, labels_P[points - 1], said, truth, labels_P[-1])


def observed(
    kind: str, labels_P: FloatArray, accuracy_P: FloatArray, luck: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return accuracies as a campaign measures them, and their standard errors."""
    if kind == "test":
        return accuracy_P, np.zeros(len(accuracy_P))
    hard = luck.random(int(labels_P[-1]))
    audits_P = np.maximum(2, np.round(AUDIT * labels_P)).astype(int)
    right_P = [int((hard[:n] < p).sum()) for n, p in zip(audits_P, accuracy_P, strict=True)]
    bounds_P = [wilson_interval(k, n) for k, n in zip(right_P, audits_P.tolist(), strict=True)]
    errors_P = np.array([(high - low) / (2 * Z_95) for low, high in bounds_P])
    return right_P / audits_P, errors_P


def crossing(labels_P: FloatArray, smooth_P: FloatArray, target: float) -> float | None:
    """Return where a rising curve reaches a target; None if it does not."""
    if smooth_P[-1] < target:
        return None
    after = int(np.searchsorted(smooth_P, target))
    ends = slice(after - 1, after + 1)
    return float(np.interp(target, smooth_P[ends], labels_P[ends]))


def measured(kind: str, by_seed: Sequence[Sequence[Case]]) -> dict[str, Figure]:
    """Return the figures of one way to measure accuracy, one value for each seed."""
    said = [[case for case in some if case.said is not None] for some in by_seed]
    bounded = [[case for case in some if case.is_bounded] for some in by_seed]
    reached = [[case for case in some if case.truth is not None] for some in by_seed]
    errors = [[case.error for case in some if case.error is not None] for some in bounded]
    figures = {"right": Figure("of all intervals", [_share(some, "is_right") for some in said])}
    if all(errors):
        shares = [_share(some, "is_bounded") for some in reached]
        figures["bounded"] = Figure("of reached targets", shares)
        shares = [_share(some, "is_right") for some in bounded]
        figures["right_bounded"] = Figure("of bounded intervals", shares)
        figures["error"] = Figure("median, relative", [float(np.median(e)) for e in errors])
    return {f"{name}_{kind}": figure for name, figure in figures.items()}


def _share(cases: Sequence[Case], name: str) -> float:
    return float(np.mean([getattr(case, name) for case in cases]))


def by_domain(kind: str, cases: Sequence[Case]) -> Table:
    """Return where the intervals were right and where they failed."""
    table = Table(title=f"accuracy on {kind}s: cases, by domain and by the points that were seen")
    columns = ("", "asked", "no law fits", "right", "wrong", "too high", "bounded", "bounded wrong")
    for name in columns:
        table.add_column(name, justify="right" if name else "left")
    groups = {case.domain: [c for c in cases if c.domain == case.domain] for case in cases}
    groups |= {f"{n} points": [c for c in cases if c.points == n] for n in POINTS}
    groups |= {f"+{100 * g:.0f} points": [c for c in cases if c.gain == g] for g in GAINS}
    for name, some in groups.items():
        said = [case for case in some if case.said is not None]
        wrong = [case for case in said if not case.is_right]
        high = [c for c in wrong if c.said and c.truth is not None and c.said.low > c.truth]
        bounded = [case for case in said if case.is_bounded]
        wrong_bounded = [case for case in bounded if not case.is_right]
        right = len(said) - len(wrong)
        counts = [len(some), len(some) - len(said), right, len(wrong), len(high)]
        counts += [len(bounded), len(wrong_bounded)]
        table.add_row(name, *map(str, counts))
    return table


if __name__ == "__main__":
    main("plan", __doc__, run, repeats=len(HELD_OUT))
