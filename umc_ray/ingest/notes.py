"""Notes of ingest: what had to be decided to read the sources, with counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """What was decided, and for how many samples or files."""

    what: str
    count: int

    def __str__(self) -> str:
        """Say it on one line."""
        return f"{self.count} x {self.what}"


def add_notes(found: Counter[str], others: Iterable[Mapping[str, int]]) -> tuple[Note, ...]:
    """Add up counts, the most frequent first."""
    total = Counter(found)
    for each in others:
        total.update(each)
    return tuple(Note(what, count) for what, count in total.most_common())
