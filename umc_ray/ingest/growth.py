"""What of a domain's sources is new, and what they may not do: change or lose what was read.

Files that are new or changed are read again. A row whose name, content and label are known is the
sample that it was. A known name with another content or label, and a sample that is gone, are
refused, because answers and models already depend on them; `ingest.changed_sources` can say to go
on with what was read.

Suffixes: N rows that were read now, K known ones, F contents that are never kept.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.console import counted, first_of
from umc_ray.errors import DataError
from umc_ray.ingest.changes import Changes
from umc_ray.ingest.parts import content_words
from umc_ray.ingest.validate import Rules
from umc_ray.methods.identity import is_forbidden
from umc_ray.records import IntArray, Part
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

ADVICE = (
    "Put the sources back as they were, or go on with what was read: "
    "ingest: {changed_sources: keep}. To add or correct labels use umc import or umc relabel, to "
    "drop samples umc forget"
)
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Growth:
    """The rows that were read now, beside those that were read before."""

    index: pa.Table  # a row each, at least the columns of `manifest.INDEX`
    known: pa.Table  # in these columns
    fresh_N: Bools  # no known row has the name
    differs_N: Bools  # a known row has the name, with another content or label

    @classmethod
    def of(cls, index: pa.Table, known: pa.Table, forgotten_ids: IntArray) -> Self:
        """Look rows up by their ids; of forgotten samples nothing differs."""
        ids_N, ids_K = index["sample_id"].to_numpy(), known["sample_id"].to_numpy()
        fresh_N, differs_N = ~np.isin(ids_N, ids_K), np.zeros(len(ids_N), np.bool_)
        named = np.flatnonzero(~fresh_N)
        order_K = np.argsort(ids_K, kind="stable")
        rows = order_K[np.searchsorted(ids_K, ids_N[named], sorter=order_K)]
        now, before = index.take(pa.array(named)), known.take(pa.array(rows))
        differs_N[named] = (content_words(now) != content_words(before)).any(axis=1)
        labels = [pc.fill_null(each["label"], "").to_numpy() for each in (now, before)]
        differs_N[named] |= labels[0] != labels[1]
        return cls(index, known, fresh_N, differs_N & ~np.isin(ids_N, forgotten_ids))

    @property
    def fresh(self) -> pa.Table:
        """The rows whose name is new."""
        return self.index.filter(pa.array(self.fresh_N))

    def hidden_F2(self, tested_F2: Words) -> Words:
        """Return the contents that are not kept: of a test split, and of all that is known."""
        named = self.index.filter(pa.array(~self.fresh_N))
        return np.concatenate([tested_F2, content_words(self.known), content_words(named)])

    def dropped(self, leaked_N: Bools, tested_F2: Words) -> tuple[int, int]:
        """Count new rows with a hidden content: leaks from the test split, and duplicates."""
        hidden = self.index.filter(pa.array(leaked_N & self.fresh_N))
        leaks = int(is_forbidden(content_words(hidden), tested_F2).sum())
        return leaks, len(hidden) - leaks


def check_kept(
    rules: Rules, changes: Changes, growth: Growth, gone: Sequence[str], keep: bool
) -> None:
    """Refuse changes of what was read, or say that they are ignored.

    Args:
        rules: of the domain.
        changes: of the files.
        growth: of their rows.
        gone: keys of the samples that are not in the sources any more.
        keep: go on with what was read.

    Raises:
        DataError: there are some, and they are not to be ignored.
    """
    added = int(growth.fresh_N.sum()) if rules.split == "test" else 0
    differ = int(growth.differs_N.sum())
    found = (
        (differ, "sample", "with another content or label than when they were read"),
        (len(gone), "sample", f"gone ({first_of(gone)})"),
        (added, "new sample", "in a test split, which stays as it is to compare rounds"),
    )
    said = [f"{counted(count, noun)} {what}" for count, noun, what in found if count]
    if not said:
        return
    message = (
        f"{rules.domain_key} {rules.split}: {'; '.join(said)}. Files: {first_of(changes.names)}"
    )
    if not keep:
        raise DataError(f"{message}. {ADVICE}")
    logger.warning("%s; going on with what was read", message)


def gone_samples(
    storage: Storage, parts: Sequence[Part], changes: Changes, ids: IntArray
) -> list[str]:
    """Return the keys of samples whose file changed or vanished and that were not found again."""
    if not changes.before:
        return []
    gone: list[str] = []
    for part in parts:
        table = storage.read_table(part.key("pool"), ["sample_id", "key", "source"])
        mine_N = np.isin(table["source"].to_numpy(), changes.before)
        lost_N = mine_N & ~np.isin(table["sample_id"].to_numpy(), ids)
        gone += table["key"].filter(pa.array(lost_N)).to_pylist()
    return gone
