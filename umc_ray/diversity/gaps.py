"""The gaps of a domain: patterns of its pool with too few labels, and where models fail.

Suffixes: K clusters, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from umc_ray.diversity.generators.generator import Payload
from umc_ray.diversity.measures import (
    Diversity,
)
from umc_ray.records import FloatArray, Part, Split
from umc_ray.selection.gather import gather
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate

MEMBERS = 40
"""Samples of a gap that are remembered."""

CENTERS = pa.schema([("cluster", pa.int32()), ("center", pa.list_(pa.float32()))])
"""clusters/<hash>: the clusters of a sample of a domain's pool, of which gaps consist."""


@dataclass(frozen=True)
class AuditErrors:
    """The utility that held-out predictions lack, for each audit sample of a domain."""

    ids: list[int]
    errors: list[float]


FoundBy = Literal["count", "errors"]
"""Too few labels, or more audit samples in which held-out predictions are wrong than elsewhere."""


@dataclass(frozen=True)
class FoundGap:
    """A pattern of a domain's pool, or of its target set, with too few labels.

    `error` and `mean_error` are the utility that predictions lack in it and overall. `members` are
    samples in it, the most typical first; their id stays the same over rounds.
    """

    id: str
    clusters: tuple[int, ...]
    share: float  # of the pool
    expected: float  # labels that it would have at that share
    labeled: int
    p_value: float
    audits: int
    error: float
    mean_error: float
    predicted: dict[str, float]  # the labels that the ensemble gives most often, with shares
    words: list[str]  # that its texts use more often than others
    members: list[int]
    places: list[tuple[str, int]] = field(default_factory=list)  # part and row of each member
    found_by: FoundBy = "count"
    group: str = ""  # the attribute and the group, where it is one; it has no clusters then

    @property
    def missing(self) -> float:
        """How many labels it lacks; where models are wrong: as many again as its share is."""
        return self.expected - self.labeled if self.found_by == "count" else self.expected

    @property
    def matters(self) -> bool:
        """Whether models are worse in it than overall: else its samples are passed over as easy."""
        return self.error >= self.mean_error


@dataclass(frozen=True)
class DomainGaps:
    """What was found in a domain, of `reference` samples of its pool, or of its target set.

    Patterns of a smaller share than `visible_share` seldom have enough labels to be missed. `rare`
    says how many samples classes lack that have fewer than half of the mean over all classes.
    """

    reference: int
    labeled: int
    visible_share: float
    coverage: Estimate | None = None  # share of the unlabeled ones that labeled ones cover
    centers: str = ""  # the table of the clusters
    gaps: list[FoundGap] = field(default_factory=list)
    rare: dict[str, float] = field(default_factory=dict)
    diversity: Diversity | None = None  # None: an earlier version looked
    of: Split = "pool"  # what the labeled samples were compared with
    audits: int = 0
    visible_audits: int | None = None  # of a part, to be seen by errors if all of them are wrong

    @property
    def open(self) -> list[FoundGap]:
        """The gaps in which models are worse."""
        return [gap for gap in self.gaps if gap.matters]

    @property
    def sought(self) -> list[FoundGap]:
        """The open ones that can be looked for; for groups there is fairness.group_floor."""
        return [gap for gap in self.open if gap.clusters]

    @property
    def lacks(self) -> bool:
        """Whether there is something to look for."""
        return bool(self.sought or self.rare)


@dataclass(frozen=True)
class Gaps:
    """gaps.json: the gaps of each domain after a round."""

    domains: dict[str, DomainGaps]


def read_members(
    storage: Storage, parts: Sequence[Part], column: str, gap: FoundGap, most: int = MEMBERS
) -> list[Payload]:
    """Read the first members of a gap, but for those that are forgotten."""
    named, rows = zip(*gap.places[:most], strict=True)
    places = pa.table({"part": pa.array(named), "row": pa.array(rows, pa.int32())})
    payloads = gather(storage, parts, "pool", places, [column])[column].to_pylist()
    return [each for each in payloads if each is not None]


def keep_ids(found: Sequence[FoundGap], before: Sequence[FoundGap]) -> list[FoundGap]:
    """Give gaps the ids of those of the round before that they share most members with."""
    known, named = {gap.id: set(gap.members) for gap in before if not gap.group}, []
    for gap in found:
        if gap.group:  # its id is that of its name
            named.append(gap)
            continue
        members = set(gap.members)
        shared = {each: len(members & others) for each, others in known.items()}
        best = max(shared, key=lambda each: shared[each], default=None)
        if best is not None and 2 * shared[best] >= min(len(members), len(known[best])):
            gap = replace(gap, id=best)
            del known[best]
        named.append(gap)
    return named


def write_centers(storage: Storage, key: str, centers_KD: FloatArray) -> None:
    """Store the centers of a domain's clusters."""
    clusters = pa.array(np.arange(len(centers_KD), dtype=np.int32))
    centers = pa.array(list(centers_KD), pa.list_(pa.float32()))
    storage.write_table(key, pa.Table.from_arrays([clusters, centers], schema=CENTERS))


def read_centers(storage: Storage, key: str) -> FloatArray:
    """Read them back: K x D."""
    rows = storage.read_table(key)["center"].to_pylist()
    return np.array(rows, np.float32)
