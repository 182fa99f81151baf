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


def notes_of(*counts: Mapping[str, int]) -> tuple[Note, ...]:
    """Make notes of counts."""
    return add_notes([Note(what, count) for each in counts for what, count in each.items()])


def add_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Add up notes that say the same, the most frequent first."""
    total: Counter[str] = Counter()
    for note in notes:
        total[note.what] += note.count
    return tuple(Note(what, count) for what, count in total.most_common())
