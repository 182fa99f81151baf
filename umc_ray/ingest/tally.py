"""What is counted while the rows of a split pass by: bounded, but for 50 bytes a row."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.ingest.answers import UNKNOWN_LABEL, is_missing
from umc_ray.ingest.embeddings import Embedding
from umc_ray.ingest.groups import group_name
from umc_ray.ingest.pixels import open_image
from umc_ray.ingest.sampling import Candidate
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.stage import INDEX
from umc_ray.ingest.validate import Rejected, Row, Rules
from umc_ray.methods.text_pair import shortened
from umc_ray.tasks.spelling import shown
from umc_ray.tasks.task import plain_text

EXAMPLES = 3
SPECIMENS = 2000
SPECIMEN_BYTES = 1 << 26
SPECIMEN_CHARS = 20_000  # of a text; an encoder reads no more of it
SPELLINGS = 1000  # of unknown labels, and of groups, that are told apart

Hashes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Specimen:
    """A usable row to show or to encode; one of text and image is None."""

    key: str
    label: str | None
    text: str | None
    image: bytes | None
    embedding: Embedding | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.text or "") + len(self.image or b"")

    def payload(self, column: str) -> str | bytes | Embedding:
        """Return what an encoder of this column reads."""
        payload: str | bytes | Embedding | None = getattr(self, column)
        assert payload is not None
        return payload


@dataclass(frozen=True)
class ImageForms:
    """How many images have which mode, format and size."""

    modes: Counter[str]
    formats: Counter[str]
    sizes: Counter[tuple[int, int]]


@dataclass
class Tally:
    """What is counted while rows pass; bounded, but for 40 bytes a row."""

    rules: Rules
    read: int = 0
    is_complete: bool = True
    notes: Counter[str] = field(default_factory=Counter)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    forms: ImageForms = field(default_factory=lambda: ImageForms(Counter(), Counter(), Counter()))
    longest: tuple[int, str] = (0, "")
    groups: dict[str, set[str]] = field(default_factory=dict)  # the values of each column
    near: list[Hashes] = field(default_factory=list)
    index: list[pa.Table] = field(default_factory=lambda: [INDEX.empty_table()])
    specimens: list[tuple[int, int, Specimen]] = field(default_factory=list)  # a heap
    held: set[int] = field(default_factory=set)  # the marks of the specimens
    specimen_bytes: int = 0

    def count_repeated(self, rows: int) -> None:
        """Count rows whose key an earlier row has: these are bad rows, too."""
        if rows:
            self.reasons["repeated key"] += rows

    def reject(self, row: Rejected) -> None:
        """Count a bad row."""
        kind = row.reason.kind
        self.reasons[kind] += 1
        shown = self.examples.setdefault(kind, [])
        if len(shown) < EXAMPLES:
            shown.append(str(row))

    def add(self, each: Candidate, row: Row) -> None:
        """Count a usable row."""
        if row.notes:
            self.notes.update(note for note in row.notes if note != UNKNOWN_LABEL)
        if row.label is None and self.rules.label is not None:
            self._note_unknown(each)
        if row.image is not None:
            self._add_image(row.image)
        elif len(row.text or "") > self.longest[0]:
            self.longest = (len(row.text or ""), f"{row.source} row {row.row}")
        if self.rules.split == "pool":
            self._add_groups(row)
        self._keep(each.mark, row)

    def _add_groups(self, row: Row) -> None:
        for name, value in zip(self.rules.keep, row.kept, strict=True):
            if name in self.rules.groups:
                values = self.groups.setdefault(name, set())
                if len(values) < SPELLINGS:
                    values.add(group_name(value))

    def _note_unknown(self, each: Candidate) -> None:
        assert not isinstance(each.found.values, BadRow)
        value = each.found.values.get(str(self.rules.label))
        if not is_missing(value):
            name = shown(plain_text(value))[:60]
            is_held = name in self.unknown_labels or len(self.unknown_labels) < SPELLINGS
            self.unknown_labels[name if is_held else "others"] += 1

    def _add_image(self, image: bytes) -> None:
        with open_image(image) as opened:
            self.forms.modes[opened.mode] += 1
            self.forms.formats[str(opened.format)] += 1
            self.forms.sizes[opened.size] += 1

    def _keep(self, mark: int, row: Row) -> None:
        """Keep the rows with the lowest marks: a random sample, without duplicates."""
        is_full = len(self.specimens) >= SPECIMENS or self.specimen_bytes >= SPECIMEN_BYTES
        if mark in self.held or (is_full and mark >= -self.specimens[0][0]):
            return
        text = None if row.text is None else shortened(row.text, SPECIMEN_CHARS)
        specimen = Specimen(row.key, row.label, text, row.image, row.embedding)
        heapq.heappush(self.specimens, (-mark, self.read, specimen))
        self.held.add(mark)
        self.specimen_bytes += specimen.size
        if is_full:
            lowest, _, dropped = heapq.heappop(self.specimens)
            self.held.discard(-lowest)
            self.specimen_bytes -= dropped.size
