"""What is in a domain's pool or test split, found by reading it without storing anything.

Rows are read, checked and compared exactly as ingest does. The counts take about 100 bytes a row.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from umc_ray.errors import DataError
from umc_ray.ingest.notes import Note, notes_of
from umc_ray.ingest.parts import content_words, number_labels
from umc_ray.ingest.sampling import TEXTS, UNREADABLE, Candidate, Portion, Sampling, candidate
from umc_ray.ingest.stage import Reader, cut, each_checked
from umc_ray.ingest.tally import Hashes, ImageForms, Specimen, Tally
from umc_ray.ingest.text_files import (
    encoding_of,
    other_format,
    read_head,
    suggested_encoding,
)
from umc_ray.ingest.validate import Rejected, Row, Rules, check
from umc_ray.methods.identity import UNKNOWN, Words, deduplicate

ENCODING_FILES = 100
PROGRESS_ROWS = 1000
BATCH_ROWS = 2000
BATCH_BYTES = 1 << 25

_NO_HASHES: Hashes = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TextLengths:
    """Characters of the usable texts."""

    shortest: int
    median: int
    longest: int
    example: str  # where the longest is


@dataclass(frozen=True)
class Contents:
    """What rows of a pool are compared with: those of test splits."""

    words_F2: Words
    near: Hashes

    @classmethod
    def nothing(cls) -> "Contents":
        """Return the contents of no rows."""
        return cls(np.empty((0, 2), dtype=np.uint64), _NO_HASHES)

    @classmethod
    def joined(cls, contents: Iterable["Contents"]) -> "Contents":
        """Return the contents of several splits."""
        all_of = [cls.nothing(), *contents]
        words = [each.words_F2 for each in all_of]
        return cls(np.concatenate(words), np.concatenate([each.near for each in all_of]))


@dataclass(frozen=True)
class Inspection:
    """What is in a split; counts are of the rows that were checked."""

    rows: int  # of all sources; about, unless everything was read
    read: int
    checked: int
    is_complete: bool
    usable: int  # without duplicates, leaks and bad rows
    duplicates: int
    conflicts: int
    near_duplicates: int  # usable texts that have the letters of an earlier one
    leaks: int
    near_leaks: int  # usable texts that have the letters of one in a test split
    labels: dict[str, int]  # usable rows by label
    unlabeled: int
    unknown_labels: Counter[str]  # as they stand in the source
    reasons: Counter[str]
    examples: dict[str, tuple[str, ...]]  # bad rows by reason
    broken_share: float  # of the files
    notes: tuple[Note, ...]
    encodings: Counter[str]  # of the text files
    mean_bytes: float  # of a usable row
    lengths: TextLengths | None
    forms: ImageForms | None
    specimens: tuple[Specimen, ...]
    contents: Contents
    groups: dict[str, set[str]]  # of the usable rows of a pool, by column

    @property
    def scale(self) -> float:
        """How many rows of the sources a checked one stands for."""
        return self.rows / max(1, self.checked)

    @property
    def bad_share(self) -> float:
        """The share of bad rows or of broken files, whichever is larger, as ingest counts it."""
        return max(self.reasons.total() / max(1, self.checked), self.broken_share)


def inspect(
    reader: Reader,
    sampling: Sampling,
    test: Contents,
    on_rows: Callable[[int], None],
    on_problem: Callable[[str], None],
) -> Inspection:
    """Read and check rows of a split, and compare them with each other and with test splits.

    A portion that cannot be read at all, such as a table without the columns, is a problem; the
    others are read all the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's about metadata, and about sizes: we check those
        tally = _read(reader, sampling, on_rows, on_problem)
    return _inspection(reader.rules, tally, sampling, test)


def _read(
    reader: Reader,
    sampling: Sampling,
    on_rows: Callable[[int], None],
    on_problem: Callable[[str], None],
) -> Tally:
    tally = Tally(reader.rules)
    for portion in sampling.portions:
        chosen = _chosen(reader, tally, portion, sampling.step, on_rows)
        try:
            usable = _usable(reader.rules, chosen, tally.reject)
            for rows in cut(((pair, pair[1].size) for pair in usable), BATCH_ROWS, BATCH_BYTES):
                tally.index.append(reader.index_table([row for _, row in rows]))
                tally.near.append(np.array([each.near for each, _ in rows], dtype=np.int64))
                for each, row in rows:
                    tally.add(each, row)
        except DataError as error:
            on_problem(str(error))
    return tally


def _chosen(
    reader: Reader, tally: Tally, portion: Portion, step: int, on_rows: Callable[[int], None]
) -> Iterator[Candidate]:
    """Read a portion as far as it goes, and yield the rows to check."""
    size = 0
    for number, found in enumerate(reader.find(portion.work, tally.notes), start=1):
        each = candidate(reader.rules, found)
        tally.read += 1
        if tally.read % PROGRESS_ROWS == 0:
            on_rows(PROGRESS_ROWS)
        if each.is_chosen(step):
            yield each
        size += each.size
        if portion.is_over(number, size):
            tally.is_complete = False
            return


def _usable(
    rules: Rules, chosen: Iterator[Candidate], reject: Callable[[Rejected], None]
) -> Iterator[tuple[Candidate, Row]]:
    """Yield the usable rows."""
    for each, row in each_checked(rules, lambda each: (each, check(rules, each.found)), chosen):
        if isinstance(row, Rejected):
            reject(row)
        else:
            yield each, row


def _inspection(rules: Rules, tally: Tally, sampling: Sampling, test: Contents) -> Inspection:
    index = pa.concat_tables(tally.index)
    words_N2, near_N = content_words(index), np.concatenate([_NO_HASHES, *tally.near])
    numbers_N, labels = number_labels(index)
    found = deduplicate(index["sample_id"].to_numpy(), words_N2, numbers_N, test.words_F2)
    near_R = near_N[found.kept_R]
    checked = len(index) + tally.reasons.total()
    tally.count_repeated(int(found.repeated_N.sum()))
    counts = np.bincount(found.labels_R[found.labels_R != UNKNOWN], minlength=len(labels))
    by_label = dict(zip(labels.to_pylist(), counts.tolist(), strict=True))
    is_complete = tally.is_complete and sampling.step == 1
    return Inspection(
        rows=tally.read if tally.is_complete else max(sampling.rows, tally.read),
        read=tally.read,
        checked=checked,
        is_complete=is_complete,
        usable=len(found.kept_R),
        duplicates=found.duplicates,
        conflicts=found.conflicts,
        near_duplicates=len(near_R) - len(np.unique(near_R)),
        leaks=int(found.leaked_N.sum()),
        near_leaks=int(np.isin(near_R, test.near).sum()),
        labels={label: count for label, count in by_label.items() if count},
        unlabeled=int((found.labels_R == UNKNOWN).sum()),
        unknown_labels=tally.unknown_labels,
        reasons=tally.reasons,
        examples={kind: tuple(shown) for kind, shown in tally.examples.items()},
        broken_share=tally.reasons[UNREADABLE] / max(1, len(sampling.portions)),
        notes=notes_of(tally.notes),
        encodings=_encodings(sampling, rules),
        mean_bytes=float(index["size"].to_numpy().mean()) if len(index) else 0.0,
        lengths=_lengths(index, tally) if rules.image is None else None,
        forms=tally.forms if rules.image is not None else None,
        specimens=tuple(each for *_, each in sorted(tally.specimens, key=lambda item: -item[0])),
        contents=Contents(words_N2[found.kept_R], near_R),
        groups=tally.groups,
    )


def _lengths(index: pa.Table, tally: Tally) -> TextLengths | None:
    if not len(index):
        return None
    sizes_N = index["size"].to_numpy()
    middle = int(np.median(sizes_N))
    return TextLengths(int(sizes_N.min()), middle, int(sizes_N.max()), tally.longest[1])


def _encodings(sampling: Sampling, rules: Rules) -> Counter[str]:
    """Count the encodings of text files, by their beginnings."""
    uris = dict.fromkeys(uri for portion in sampling.portions for uri in portion.work.files)
    texts = [uri for uri in uris if uri.lower().endswith(TEXTS) and not rules.are_images]
    return Counter(_encoding(uri, rules.encoding) for uri in texts[:ENCODING_FILES])


def _encoding(uri: str, declared: str | None) -> str:
    try:
        head = read_head(uri)
    except (OSError, pa.ArrowException):
        return "unreadable"
    if what := other_format(head):
        return f"no text but {what}"
    suggested = None if declared else suggested_encoding(head)
    return f"not utf-8 but perhaps {suggested}" if suggested else encoding_of(head, declared)
