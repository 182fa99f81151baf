"""Give each group of a domain its least share of a batch, whatever is most informative overall."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from umc_ray.ingest.groups import count_groups, group_names
from umc_ray.methods.group_floor import give_way, least_picks
from umc_ray.methods.intersections import BETWEEN, joined_names
from umc_ray.methods.scoring import top_m
from umc_ray.records import CANDIDATES, IntArray, Part
from umc_ray.selection.gather import gather
from umc_ray.storage import Storage

Fill = Callable[[pa.Table, int], pa.Table]
"""From the candidates of one group to so many picks among them."""


@dataclass(frozen=True)
class GroupFloor:
    """The least share of a batch for each intersection of a domain's groups."""

    names: tuple[str, ...]  # of the attributes
    share: float
    smallest: int  # samples of the pool that a group needs to have a floor

    def groups(self, storage: Storage, parts: Sequence[Part]) -> list[str]:
        """Return the groups that have a floor."""
        counts = count_groups(storage, parts, self.names)
        return sorted(BETWEEN.join(key) for key, n in counts.items() if n >= self.smallest)

    def of(self, storage: Storage, parts: Sequence[Part], places: pa.Table) -> np.ndarray:
        """Return the group of each of some samples."""
        kept = gather(storage, parts, "kept", places, list(self.names))
        return joined_names(list(group_names(kept).values()))

    def candidates(
        self, storage: Storage, parts: Sequence[Part], table: str, taken: IntArray, m: int
    ) -> dict[str, pa.Table]:
        """Return the most informative candidates of each group, at most m of each."""
        best: dict[str, pa.Table] = {}
        for part in parts:
            top = storage.read_table(part.key(table)).replace_schema_metadata()
            open_rows = pa.array(~np.isin(top["sample_id"].to_numpy(), taken))
            for group, own in self.split(storage, parts, top.filter(open_rows)).items():
                both = pa.concat_tables([best.get(group, CANDIDATES.empty_table()), own])
                values_N, ids_N = (both[name].to_numpy() for name in ("acquisition", "sample_id"))
                best[group] = both.take(pa.array(top_m(values_N, ids_N, m)))
        return best

    def split(
        self, storage: Storage, parts: Sequence[Part], candidates: pa.Table
    ) -> dict[str, pa.Table]:
        """Return candidates by group."""
        if not len(candidates):
            return {}
        named_N = self.of(storage, parts, candidates)
        return {
            str(group): candidates.filter(pa.array(named_N == group))
            for group in np.unique(named_N)
        }


def raise_groups(
    floor: GroupFloor,
    storage: Storage,
    parts: Sequence[Part],
    picks: pa.Table,
    offered: Mapping[str, pa.Table],
    fill: Fill,
) -> tuple[pa.Table, int]:
    """Replace the last picks by some of groups that have fewer than their floor.

    Args:
        floor: the rule.
        storage: the run directory.
        parts: of the domain's pool.
        picks: best first.
        offered: candidates by group; picks may be among them.
        fill: chooses among the candidates of one group.

    Returns:
        The picks, those of raised groups at the end, and how many these are.
    """
    groups = floor.groups(storage, parts)
    if not len(picks) or not groups:
        return picks, 0
    codes = {group: code for code, group in enumerate(groups)}
    groups_B = np.array([codes.get(str(name), -1) for name in floor.of(storage, parts, picks)])
    counts_G = np.bincount(groups_B[groups_B >= 0], minlength=len(groups))
    others = [_not_picked(offered.get(group), picks) for group in groups]
    available_G = counts_G + np.array([len(each) for each in others])
    stays_B, lacking_G = give_way(groups_B, least_picks(len(picks), floor.share, available_G))
    more = [
        fill(each, int(lacking)) for each, lacking in zip(others, lacking_G, strict=True) if lacking
    ]
    raised = pa.concat_tables([picks.schema.empty_table(), *more])
    return pa.concat_tables([picks.filter(pa.array(stays_B)), raised]), len(raised)


def _not_picked(candidates: pa.Table | None, picks: pa.Table) -> pa.Table:
    if candidates is None:
        return picks.schema.empty_table()
    is_picked = np.isin(candidates["sample_id"].to_numpy(), picks["sample_id"].to_numpy())
    return candidates.filter(pa.array(~is_picked))
