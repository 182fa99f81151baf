"""How many rows of the sources cannot be used, and whether that is too many."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from umc_ray.errors import DataError
from umc_ray.ingest.stage import ReadSummary
from umc_ray.ingest.validate import Rejected, Rules, bad_row_line
from umc_ray.records import QUARANTINE
from umc_ray.storage import Storage

FEW_ROWS = 100
"""New rows of a source that has grown are judged as if there were at least so many."""


@dataclass(frozen=True)
class BadRows:
    """Counts and examples of the rows that cannot be used."""

    rows: int  # all that were read, good or bad
    reasons: Counter[str]
    examples: list[str]
    broken_share: float  # unreadable files / work items
    at_least: int = 1  # a share is of so many rows, also where there are fewer

    @classmethod
    def of(cls, summaries: Sequence[ReadSummary], repeated: Sequence[Rejected]) -> Self:
        """Add up the bad rows of the readers and the repeated keys that only the driver can see."""
        reasons = Counter(row.reason.kind for row in repeated)
        for summary in summaries:
            reasons.update(summary.reasons)
        rows = sum(summary.rows for summary in summaries)
        examples = [line for summary in summaries for line in summary.first]
        examples += [str(row) for row in repeated[:3]]
        broken_share = reasons["unreadable file"] / len(summaries)
        return cls(rows, reasons, examples[:3], broken_share)

    @classmethod
    def of_table(cls, bad: pa.Table, usable: int, items: int) -> Self:
        """Count the rows of a table of quarantine, found beside so many usable ones.

        They are new rows of a source that has grown: a few of them say little of it.
        """
        reasons = Counter(reason.partition(": ")[0] for reason in bad["reason"].to_pylist())
        examples = [bad_row_line(**row) for row in bad[:3].to_pylist()]
        broken_share = reasons["unreadable file"] / max(items, 1)
        return cls(usable + len(bad), reasons, examples, broken_share, at_least=FEW_ROWS)

    def check(self, rules: Rules, kept: int, max_share: float) -> None:
        """Raise if too many rows are bad.

        The number of rows in an unreadable file is unknown, so the share of files counts as well.

        Raises:
            DataError: too many rows are bad, or none is usable; with the first reasons.
        """
        where, reasons = f"{rules.domain_key} {rules.split}", "; ".join(self.examples)
        if not kept:
            default = "all are in test splits" if self.rows else "the sources are empty"
            raise DataError(f"{where}: no usable row among {self.rows}: {reasons or default}")
        bad = self.reasons.total()
        share = max(bad / max(self.rows, self.at_least), self.broken_share)
        if share > max_share:
            raise DataError(
                f"{where}: {bad} of {self.rows} rows and {self.broken_share:.1%} of the files are "
                f"bad, ingest.max_bad_share allows {max_share:.1%}: {reasons}; see all of them in "
                f"quarantine/{rules.split}/{rules.domain_key}"
            )


def new_bad_rows(storage: Storage, now: str, before: str, name: str) -> pa.Table:
    """Return the rows in a quarantine folder that none of another folder names.

    `name` is where they will be stored there; what a killed run stored does not count.
    """
    earlier = [key for key in storage.keys(before) if key != name]
    known = {(row["source"], row["row"]) for row in _rows(storage, earlier).to_pylist()}
    found = _rows(storage, storage.keys(now))
    places = zip(found["source"].to_pylist(), found["row"].to_pylist(), strict=True)
    return found.filter(pa.array([place not in known for place in places], pa.bool_()))


def _rows(storage: Storage, keys: Sequence[str]) -> pa.Table:
    tables = [storage.read_table(key) for key in keys]
    return pa.concat_tables([QUARANTINE.empty_table(), *tables])
