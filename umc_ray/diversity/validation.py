"""People validate synthetic samples: which they are asked about, and what stands after it.

A person accepts the label that a sample was made for, gives it another one, or rejects it. What
nobody validated is admitted where a random sample of its kind was accepted, or not at all.

Suffixes: N synthetic samples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.methods.admission import admits, drawn_prefix, most_ambiguous, spread
from umc_ray.methods.identity import uniform
from umc_ray.methods.intervals import wilson_interval
from umc_ray.records import BATCH, SCORES, STANDINGS
from umc_ray.tasks.quality import Estimate

Standing = Literal["accepted", "fixed", "rejected", "admitted", "open", "refused"]
"""What has become of a synthetic sample.

People accepted its label, gave it another, or rejected it; nobody was asked, and it is admitted or
not; or a filter refused it.
"""

VALIDATED: tuple[Standing, ...] = ("accepted", "fixed", "rejected")
PURPOSE = "validate"  # of the random order of synthetic samples

Floats = np.ndarray[Any, np.dtype[np.float64]]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What people say of a synthetic sample; `label` is None if they rejected it."""

    label: str | None
    votes: int
    agreement: float
    round: int
    cost: float
    quality: float | None = None


@dataclass(frozen=True)
class HumanRating:
    """How good people find a generator's samples, from 1 to 5: the mean over `rated` samples.

    Only those count that people were asked about in a random order; nobody must rate.
    """

    task: str
    domain: str
    generator: str
    rated: int
    quality: Estimate


@dataclass(frozen=True)
class Acceptance:
    """How a generator's samples for a label of a gap fared.

    `rate` is the share of accepted ones among the `drawn` ones, which people were asked about in a
    random order; None if there are none.
    """

    task: str
    domain: str
    generator: str
    gap: str
    label: str
    made: int
    standings: dict[str, int]  # number of samples by Standing
    drawn: int
    rate: Estimate | None

    def count(self, standing: Standing) -> int:
        """Return how many samples have a standing."""
        return self.standings.get(standing, 0)

    @property
    def validated(self) -> int:
        """How many samples people were asked about."""
        return sum(self.count(each) for each in VALIDATED)


@dataclass(frozen=True)
class SyntheticSamples:
    """synthetic.json: acceptance after a round, by domain, generator, gap and label.

    `validated` and `cost` are those of this round alone.
    """

    groups: tuple[Acceptance, ...]
    validated: int
    cost: float


def standings(
    samples: pa.Table,
    verdicts: Mapping[tuple[str, int], Verdict],
    withdrawn: frozenset[int],
    accept_rate: float,
    seed: int,
) -> pa.Table:
    """Return what has become of all synthetic samples, in the columns of STANDINGS.

    Args:
        samples: as `read_origins` returns them.
        verdicts: what people say, by task and id.
        withdrawn: samples without an embedding, and those that were forgotten: what was made from
            one of them is not used either.
        accept_rate: from which on those are admitted that nobody validated.
        seed: of the random order.
    """
    rows = samples.to_pylist()
    found = [
        _decided(row, verdicts.get((row["task"], row["sample_id"])), withdrawn) for row in rows
    ]
    admitted = _admitted(found, accept_rate, seed)
    for row in found:
        if row["standing"] == "open" and _kind_of(row) in admitted:
            row |= {"standing": "admitted", "label": row["made_for"]}
    return pa.Table.from_pylist(found, STANDINGS)


def _decided(row: Row, verdict: Verdict | None, withdrawn: frozenset[int]) -> dict[str, Any]:
    """Return a row of STANDINGS, by what people and filters say of a sample."""
    places = {name: row[name] for name in STANDINGS.names if name in row and name != "label"}
    nothing = {"label": None, "votes": 0, "agreement": 1.0, "round": 0, "cost": 0.0}
    result = {**places, **nothing, "quality": None, "made_for": row["label"], "standing": "open"}
    if verdict is not None:
        is_rejected, is_same = verdict.label is None, verdict.label == row["label"]
        standing = "rejected" if is_rejected else "accepted" if is_same else "fixed"
        result |= {**vars(verdict), "standing": standing}
    if row["refused"] is not None or not withdrawn.isdisjoint(
        [row["sample_id"], *row["exemplars"]]
    ):
        result |= {"standing": "refused", "label": None}
    return result


def _kind_of(row: Row) -> tuple[str, str, str, str]:
    """Return what samples share that are admitted together: who made them, and for which label."""
    return row["task"], row["domain"], row["generator"], row["made_for"]


def _drawn(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows of one kind that people were asked about in a random order."""
    usable = [row for row in rows if row["standing"] != "refused"]
    ids = np.array([row["sample_id"] for row in usable], np.int64)
    validated_N = np.array([row["standing"] in VALIDATED for row in usable], np.bool_)
    prefix_N = drawn_prefix(uniform(ids, seed, PURPOSE), validated_N)
    return [row for row, is_drawn in zip(usable, prefix_N, strict=True) if is_drawn]


def _by_kind(rows: Sequence[Row]) -> dict[tuple[str, str, str, str], list[Row]]:
    kinds: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        kinds.setdefault(_kind_of(row), []).append(row)
    return kinds


def _accepted(rows: Sequence[Row]) -> int:
    return sum(row["standing"] == "accepted" for row in rows)


def _admitted(rows: Sequence[Row], rate: float, seed: int) -> set[tuple[str, str, str, str]]:
    """Return the kinds of samples that are used without validation."""
    drawn = {kind: _drawn(own, seed) for kind, own in _by_kind(rows).items()}
    return {kind for kind, own in drawn.items() if admits(_accepted(own), len(own), rate)}


def acceptance(table: pa.Table, number: int, seed: int) -> SyntheticSamples:
    """Sum up the standings after a round."""
    rows, groups = table.to_pylist(), list[Acceptance]()
    for kind, own in sorted(_by_kind(rows).items()):
        drawn = {row["sample_id"] for row in _drawn(own, seed)}
        for gap in sorted({row["gap"] for row in own}):
            of_gap = [row for row in own if row["gap"] == gap]
            asked = [row for row in of_gap if row["sample_id"] in drawn]
            groups.append(_group(kind, gap, of_gap, asked))
    now = [row for row in rows if row["round"] == number]
    return SyntheticSamples(tuple(groups), len(now), sum(row["cost"] for row in now))


def human_ratings(table: pa.Table, seed: int) -> tuple[HumanRating, ...]:
    """Return how good people find each generator's samples, by domain, where they said so."""
    drawn = [row for own in _by_kind(table.to_pylist()).values() for row in _drawn(own, seed)]
    scores: dict[tuple[str, str, str], list[float]] = {}
    for row in drawn:
        if row["quality"] is not None:
            key = row["task"], row["domain"], row["generator"]
            scores.setdefault(key, []).append(row["quality"])
    return tuple(HumanRating(*key, len(own), _mean(own)) for key, own in sorted(scores.items()))


def _mean(scores: Sequence[float]) -> Estimate:
    """Return a mean of 1 to 5 with its interval, which a few equal scores leave wide."""
    most, n = int(SCORES[-1]), len(scores)
    mean = sum(scores) / n
    ends = wilson_interval(n * (mean - 1) / (most - 1), n)
    return Estimate(mean, *(1 + (most - 1) * end for end in ends))


def _group(
    kind: tuple[str, str, str, str], gap: str, rows: Sequence[Row], drawn: Sequence[Row]
) -> Acceptance:
    task, domain, generator, label = kind
    right, n = _accepted(drawn), len(drawn)
    rate = Estimate(right / n, *wilson_interval(right, n)) if n else None
    counts = Counter(row["standing"] for row in rows)
    return Acceptance(task, domain, generator, gap, label, len(rows), dict(counts), n, rate)


def choose_validation(
    table: pa.Table, asked: frozenset[int], probability_N: Floats, n: int, seed: int
) -> pa.Table:
    """Choose n synthetic samples for people to validate, in the columns of BATCH.

    Half of them are drawn at random, as many of each kind: they tell the acceptance rate, also that
    of kinds that are admitted, so that what was admitted by chance does not stay. The other half
    are those on whose label the ensemble is least decided.

    Args:
        table: the standings.
        asked: what people have been asked about.
        probability_N: that the ensemble gives the label that each was made for; NaN: unknown.
        n: how many; fewer are chosen if fewer are open.
        seed: of the random order.
    """
    usable = pc.is_in(table["standing"], pa.array(["open", "admitted"]))
    open_N = np.flatnonzero(usable.to_numpy() & ~np.isin(table["sample_id"].to_numpy(), [*asked]))
    rows = table.take(pa.array(open_N)).to_pylist()
    numbers_N = uniform(np.array([row["sample_id"] for row in rows], np.int64), seed, PURPOSE)
    kinds = sorted({_kind_of(row) for row in rows})
    groups_N = np.array([kinds.index(_kind_of(row)) for row in rows], np.int64)
    drawn = spread(groups_N, numbers_N, (n + 1) // 2)
    rest = np.setdiff1d(np.arange(len(rows)), drawn)
    more = most_ambiguous(probability_N[open_N][rest], numbers_N[rest], n - len(drawn))
    picked = [rows[i] for i in [*drawn, *rest[more]]]
    return pa.Table.from_pylist([_batch_row(row) for row in picked], BATCH)


def _batch_row(row: Row) -> dict[str, Any]:
    places = {name: row[name] for name in BATCH.names[:5]}
    why = (
        f"synthetic, made by {row['generator']} for {row['made_for']}: accept, fix the label or "
        "reject (skip)"
    )
    rest = {"acquisition": 0.0, "audit": False, "confidence": None}
    return {**places, **rest, "predicted": row["made_for"], "why": why}
