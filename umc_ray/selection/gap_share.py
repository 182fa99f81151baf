"""Spend a share of a batch on what a domain lacks, whatever is most informative overall."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from umc_ray.methods.allocation import allocate
from umc_ray.methods.scoring import top_m
from umc_ray.records import CANDIDATES, GAP_CANDIDATES, IntArray, Part
from umc_ray.storage import Storage

Fill = Callable[[pa.Table, int], pa.Table]
"""From the candidates of one gap to so many picks among them."""


@dataclass(frozen=True)
class GapShare:
    """What part of a batch is spent on each gap and rare class, and how many labels it lacks."""

    shares: Mapping[str, float]  # by name
    lacking: Mapping[str, float]  # by name
    table: str  # of the candidates


@dataclass(frozen=True)
class GapPicks:
    """What was picked for gaps, and for which one."""

    picks: pa.Table
    gaps: Mapping[int, str]  # by sample id


def search_gaps(
    rule: GapShare,
    storage: Storage,
    parts: Sequence[Part],
    taken: IntArray,
    n: int,
    per_label: int,
    fill: Fill,
) -> GapPicks:
    """Pick samples of gaps for their shares of a batch of n, at most what each gap lacks.

    Args:
        rule: the shares.
        storage: the run directory.
        parts: of the domain's pool.
        taken: ids of samples that are not to be picked.
        n: size of the batch.
        per_label: candidates that compete for each label.
        fill: chooses among the candidates of one gap.
    """
    names = sorted(rule.shares)
    budget = int(sum(rule.shares.values()) * n + 1e-9)
    there = [part for part in parts if storage.exists(part.key(rule.table))]  # others are new
    m = per_label * budget
    most = {name: candidates_of(storage, there, rule.table, name, taken, m) for name in names}
    remaining = [min(len(most[name]), int(np.ceil(rule.lacking[name]))) for name in names]
    shares = [rule.shares[name] for name in names]
    counts = allocate(shares, budget, floor=0.0, remaining_A=remaining).tolist()
    picks, gaps = [CANDIDATES.empty_table()], dict[int, str]()
    for name, count in zip(names, counts, strict=True):
        if count:
            is_picked = np.isin(most[name]["sample_id"].to_numpy(), list(gaps))
            chosen = fill(most[name].filter(pa.array(~is_picked)), count)
            picks.append(chosen)
            gaps |= dict.fromkeys(chosen["sample_id"].to_pylist(), name)
    return GapPicks(pa.concat_tables(picks), gaps)


def candidates_of(
    storage: Storage, parts: Sequence[Part], table: str, gap: str, taken: IntArray, m: int
) -> pa.Table:
    """Return the most informative candidates of a gap, part by part."""
    best = GAP_CANDIDATES.empty_table()
    for part in parts:
        own = storage.read_table(part.key(table)).replace_schema_metadata()
        open_N = ~np.isin(own["sample_id"].to_numpy(), taken)
        mine_N = np.array([each == gap for each in own["gap"].to_pylist()], np.bool_)
        both = pa.concat_tables([best, own.filter(pa.array(open_N & mine_N))])
        values_N, ids_N = both["acquisition"].to_numpy(), both["sample_id"].to_numpy()
        best = both.take(pa.array(top_m(values_N, ids_N, m)))
    return best.drop(["gap"])
