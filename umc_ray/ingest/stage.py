"""The first pass of ingest: read the sources, check and hash their rows, and stage them.

    work/<item>.json         a bounded piece of the sources
    rows/<item>-<chunk>      usable rows of an item, as they were found
    index/<item>             id, content hash, label and size of each of those rows

Items and chunks are in source order: a row's place in all index files, one after the other, is its
position in the domain.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from umc_ray.cluster.stream import Summary
from umc_ray.ingest.archives import read_archive
from umc_ray.ingest.image_files import values_of_image
from umc_ray.ingest.kept_columns import kept_table
from umc_ray.ingest.readers import Rows, read_rows, row_groups
from umc_ray.ingest.sources import ARCHIVES, BadRow
from umc_ray.ingest.text_files import misread
from umc_ray.ingest.validate import Found, Rejected, Row, Rules, check
from umc_ray.methods.identity import sample_ids
from umc_ray.methods.unicode_text import comparable
from umc_ray.records import QUARANTINE
from umc_ray.storage import Storage

IMAGES_PER_ITEM = 2000
ROWS_PER_ITEM = 50_000  # of a Parquet file; text files cannot be cut without reading them
CHUNK_ROWS = 10_000
CHUNK_BYTES = 1 << 26
THREADS = 8  # of a worker that reads images: waiting for an object store takes most of the time

T = TypeVar("T")
U = TypeVar("U")

ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("row", pa.string()),
        ("text", pa.string()),
        ("image", pa.binary()),
        ("ratings", pa.list_(pa.int8())),
        ("embedding", pa.list_(pa.float32())),
    ]
)
KEPT = "kept"
"""One more column of the rows where a domain keeps some of its own: these, as a struct."""

INDEX = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("content_1", pa.uint64()),
        ("content_2", pa.uint64()),
        ("label", pa.string()),
        ("size", pa.int32()),
    ]
)


@dataclass(frozen=True)
class WorkItem:
    """A bounded piece of a domain's sources: files, or row groups of one Parquet file."""

    files: tuple[str, ...]
    groups: tuple[int, int] | None = None  # the first, and the one after the last


@dataclass(frozen=True)
class ReadSummary(Summary):
    """What reading an item gave; `rows` counts usable and bad rows."""

    chunks: tuple[int, ...]  # usable rows of each
    reasons: dict[str, int]  # number of bad rows by reason
    notes: dict[str, int]  # number of usable rows by what had to be decided for them
    first: tuple[str, ...]  # the first bad rows


def split_work(uris: Sequence[str], are_images: bool) -> list[WorkItem]:
    """Cut the files of a domain into items of work, in their order."""
    if are_images:
        return [work for works in _split_images(uris) for work in works]
    with ThreadPoolExecutor(THREADS) as pool:
        return [work for works in pool.map(_split_table, uris) for work in works]


def _split_images(uris: Sequence[str]) -> Iterator[list[WorkItem]]:
    """Cut a list of image files; an archive is an item."""
    for is_archive, group in groupby(uris, key=lambda uri: uri.lower().endswith(ARCHIVES)):
        files, size = list(group), 1 if is_archive else IMAGES_PER_ITEM
        starts = range(0, len(files), size)
        yield [WorkItem(tuple(files[start : start + size])) for start in starts]


def _split_table(uri: str) -> list[WorkItem]:
    """Cut a Parquet file between row groups; any other file is one item."""
    sizes = row_groups(uri) if uri.lower().endswith(".parquet") else []
    works: list[WorkItem] = []
    start, rows = 0, 0
    for group, size in enumerate(sizes, start=1):
        rows += size
        if rows >= ROWS_PER_ITEM or group == len(sizes):
            works.append(WorkItem((uri,), (start, group)))
            start, rows = group, 0
    return works or [WorkItem((uri,))]


@dataclass(frozen=True)
class Reader:
    """The first pass: read the rows of an item, check them, and store the usable ones."""

    storage: Storage
    staging: str  # the folder of this ingest
    root: str  # keys are relative to it
    rules: Rules
    quarantine: str = ""  # the folder of the rows that cannot be used
    summary_type: ClassVar[type[ReadSummary]] = ReadSummary

    def output_key(self, item: int) -> str:
        """Name the index of an item."""
        return f"{self.staging}/index/{item:06d}.parquet"

    def process(self, item: int) -> tuple[pa.Table, ReadSummary]:
        """Store an item's rows and bad rows, chunk by chunk; returns their index."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's about metadata, and about sizes: we check those
            return self._process(item)

    def _process(self, item: int) -> tuple[pa.Table, ReadSummary]:
        work = self.storage.read_record(f"{self.staging}/work/{item:06d}.json", WorkItem)
        index, chunks, rejected = [INDEX.empty_table()], list[int](), list[Rejected]()
        reasons, notes = Counter[str](), Counter[str]()
        for number, chunk in enumerate(self._chunks(self.find(work, notes))):
            name = chunk_name(item, number)
            rows = [row for row in chunk if isinstance(row, Row)]
            bad = [row for row in chunk if isinstance(row, Rejected)]
            if rows:
                table = _rows_table(rows, self.rules.keep)
                self.storage.write_table(f"{self.staging}/rows/{name}.parquet", table)
                index.append(self.index_table(rows))
            if bad:
                write_quarantine(self.storage, f"{self.quarantine}/{name}.parquet", bad)
            chunks.append(len(rows))
            reasons.update(row.reason.kind for row in bad)
            notes.update(note for row in rows for note in row.notes)
            rejected = (rejected + bad)[:3]
        return pa.concat_tables(index), ReadSummary(
            rows=sum(chunks) + reasons.total(),
            chunks=tuple(chunks),
            reasons=dict(reasons),
            notes=dict(notes),
            first=tuple(str(row) for row in rejected),
        )

    def find(self, work: WorkItem, notes: Counter[str]) -> Iterator[Found]:
        """Read the rows of an item."""
        for uri in work.files:
            key = uri.removeprefix(self.root).lstrip("/")
            if self.rules.are_images:
                yield from self._find_images(uri, key, notes)
                continue
            if not work.groups and (note := misread(uri, self.rules.encoding)):
                notes[note] += 1
            groups = range(*work.groups) if work.groups else None
            for row, values in self._rows(uri, groups, notes):
                yield Found(uri, str(row), f"{key}#{row}", values)

    def _rows(self, uri: str, groups: range | None, notes: Counter[str]) -> Rows:
        layout, table = self.rules.layout_of(uri), self.rules.table
        if layout is None:
            return read_rows(uri, table, groups)
        return layout.read_rows(uri, table, groups, notes)

    def _find_images(self, uri: str, key: str, notes: Counter[str]) -> Iterator[Found]:
        """Return an image file, or the images in an archive."""
        rules = self.rules
        if not uri.lower().endswith(ARCHIVES):
            yield Found(uri, "", key, values_of_image(uri, key, self.root, rules))
            return
        folder = key[: key.rfind("/") + 1]
        for member in read_archive(uri, rules.max_image_bytes, rules.reads_beside, notes):
            name, image = member.name, member.content
            values = (
                image
                if isinstance(image, BadRow)
                else {**member.beside, **values_of_image(image, folder + name, self.root, rules)}
            )
            yield Found(uri, name, f"{key}/{name}", values)

    def _chunks(self, rows: Iterator[Found]) -> Iterator[list[Row | Rejected]]:
        """Check rows in their order, and cut them into chunks."""
        checked = each_checked(self.rules, lambda row: check(self.rules, row), rows)
        sizes = ((row, row.size if isinstance(row, Row) else 0) for row in checked)
        return cut(sizes, CHUNK_ROWS, CHUNK_BYTES)

    def index_table(self, rows: Sequence[Row]) -> pa.Table:
        """Return the index of usable rows."""
        domain_key = self.rules.domain_key
        keys = (comparable(row.key) for row in rows)
        words = np.frombuffer(b"".join(row.content for row in rows), dtype="<u8").reshape(-1, 2)
        columns = [
            sample_ids(domain_key.task, domain_key.domain, self.rules.split, keys),
            words[:, 0],
            words[:, 1],
            [row.label for row in rows],
            [row.size for row in rows],
        ]
        return pa.table([pa.array(c, t) for c, t in zip(columns, INDEX.types, strict=True)], INDEX)


def chunk_name(item: int, number: int) -> str:
    """Name a chunk of an item."""
    return f"{item:06d}-{number:04d}"


def each_checked(rules: Rules, check_one: Callable[[T], U], rows: Iterator[T]) -> Iterator[U]:
    """Yield what a check finds of each row, in their order; images are decoded in threads."""
    if rules.image is None:
        yield from map(check_one, rows)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(rows, 8 * THREADS)):
            yield from pool.map(check_one, some)


def cut(rows: Iterable[tuple[T, int]], max_rows: int, max_size: int) -> Iterator[list[T]]:
    """Cut a stream of rows, each with its size, by count and by size."""
    piece, total = list[T](), 0
    for row, size in rows:
        piece.append(row)
        total += size
        if len(piece) == max_rows or total >= max_size:
            yield piece
            piece, total = [], 0
    if piece:
        yield piece


def _rows_table(rows: Sequence[Row], keep: Sequence[str]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in ROWS.names}
    table = pa.table(columns, ROWS)
    if keep:
        kept = kept_table(keep, (row.kept for row in rows))
        table = table.append_column(KEPT, kept.to_struct_array())
    return table


def write_quarantine(storage: Storage, key: str, rows: Sequence[Rejected]) -> None:
    """Store rows that cannot be used, for people to look at."""
    columns = {
        "source": [row.source for row in rows],
        "row": [row.row for row in rows],
        "reason": [str(row.reason) for row in rows],
    }
    storage.write_table(key, pa.table(columns, QUARANTINE))
