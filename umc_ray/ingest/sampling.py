"""Which rows of a domain's sources a check looks at.

Rows are chosen by what is in them, so duplicates are chosen together: their share of a sample is
that of the whole. Texts count by their letters and digits only.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass

import pyarrow as pa
import pyarrow.fs as pafs

from umc_ray.ingest.readers import row_groups
from umc_ray.ingest.sources import ARCHIVES, TEXT_FILES, BadRow, SourceFile, locate
from umc_ray.ingest.stage import THREADS, WorkItem, split_work
from umc_ray.ingest.table_rows import row_text
from umc_ray.ingest.text_files import read_head
from umc_ray.ingest.validate import Found, Rules
from umc_ray.methods.text_pair import joined
from umc_ray.methods.unicode_text import comparable

OPENED = 100  # of many files, to estimate their rows
UNREADABLE = "unreadable file"
TEXTS = (".jsonl", ".ndjson", ".csv", ".tsv", ".gz", *TEXT_FILES)

_BESIDES_LETTERS = re.compile(r"[\W_]+")
_ASCII_BESIDES_LETTERS = bytes(code for code in range(128) if not chr(code).isalnum())
_FEW_LINES = 10
_LONG_HEAD_BYTES = 1 << 24
_GZIP_RATIO = 4  # a guess; texts shrink to a third or a fifth
_ARCHIVED_IMAGE_BYTES = 50_000  # a guess
_JSON_ROW_BYTES = 1000  # a guess


@dataclass(frozen=True)
class Limits:
    """How many rows of a split are read, and how many of these are checked."""

    read: int
    checked: int
    bytes_read: int

    def divided(self, splits: int) -> "Limits":
        """Return what each of several splits may take."""
        return Limits(*(max(1, each // splits) for each in astuple(self)))


@dataclass(frozen=True)
class Portion:
    """A piece of the sources, and how much of it is read; None: all of it."""

    work: WorkItem
    rows: int | None = None
    size: int | None = None

    def is_over(self, rows: int, size: int) -> bool:
        """Return whether so many rows or bytes are all that is read of it."""
        by_rows = self.rows is not None and rows >= self.rows
        return by_rows or (self.size is not None and size >= self.size)


@dataclass(frozen=True)
class Sampling:
    """What is read of a split, and that about one of `step` rows is checked."""

    portions: tuple[Portion, ...]
    step: int
    rows: int  # of all sources, about
    read: int  # of these, about


def everything(files: Sequence[SourceFile], are_images: bool) -> Sampling:
    """Read and check all rows."""
    works = split_work([file.uri for file in files], are_images)
    rows = sum(_rows_of(work, files) for work in works)
    return Sampling(tuple(Portion(work) for work in works), 1, rows, rows)


def some(files: Sequence[SourceFile], are_images: bool, limits: Limits) -> Sampling:
    """Read what the limits allow, of each piece of the sources about as much as of the others."""
    works = split_work([file.uri for file in files], are_images)
    rows = [_rows_of(work, files) for work in works]
    shares = _shares(rows, limits.read)
    portions = [
        Portion(work, None if share >= size else share, limits.bytes_read // len(works))
        for work, size, share in zip(works, rows, shares, strict=True)
    ]
    step = -(-sum(shares) // limits.checked)
    return Sampling(tuple(portions), max(1, step), sum(rows), sum(shares))


def _shares(sizes: Sequence[int], limit: int) -> list[int]:
    """Split a limit evenly; what small pieces do not need goes to the others."""
    shares, left = [0] * len(sizes), limit
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    for done, i in enumerate(order):
        shares[i] = min(sizes[i], max(1, left // (len(sizes) - done)))
        left = max(0, left - shares[i])
    return shares


def expected_rows(files: Sequence[SourceFile], are_images: bool) -> int:
    """Return about how many rows sources have."""
    tables = [file for file in files if not are_images or file.uri.lower().endswith(ARCHIVES)]
    opened = tables[:: max(1, len(tables) // OPENED)]
    with ThreadPoolExecutor(THREADS) as pool:
        rows = sum(pool.map(_rows_of_file, opened))
    share = sum(file.size for file in opened) / max(1, sum(file.size for file in tables))
    return len(files) - len(tables) + round(rows / max(share, 1e-9))


def _rows_of(work: WorkItem, files: Sequence[SourceFile]) -> int:
    """Return about how many rows an item has, at least one."""
    uri = work.files[0]
    if work.groups is not None:
        return max(1, sum(row_groups(uri)[slice(*work.groups)]))
    if uri.lower().endswith((".arrow", ".json", *TEXTS, *ARCHIVES)):
        return _rows_of_file(next(file for file in files if file.uri == uri))
    return len(work.files)


def _rows_of_file(file: SourceFile) -> int:
    """Return about how many rows a table or an archive has, at least one."""
    lower = file.uri.lower()
    try:
        if lower.endswith(".parquet"):
            rows = sum(row_groups(file.uri))
        elif lower.endswith(".arrow"):
            rows = _arrow_rows(file.uri)
        else:
            rows = int(file.size / _bytes_per_row(file.uri))
    except (OSError, pa.ArrowException, BadRow):
        return 1  # reading it will say why
    return max(1, rows)


def _arrow_rows(uri: str) -> int:
    """Count the rows of an Arrow file; a local one is not read for it."""
    filesystem, path = locate(uri)
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem = pafs.LocalFileSystem(use_mmap=True)
    with filesystem.open_input_file(path) as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        with pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream) as reader:
            if is_file:
                numbers = range(reader.num_record_batches)
                return sum(reader.get_batch(number).num_rows for number in numbers)
            return sum(batch.num_rows for batch in reader)


def _bytes_per_row(uri: str) -> float:
    """Return about how many bytes of a file a row takes."""
    if uri.lower().endswith(ARCHIVES):
        return _ARCHIVED_IMAGE_BYTES
    if uri.lower().endswith(".json"):  # it may be one line
        return _JSON_ROW_BYTES
    head = read_head(uri)
    if head.count(b"\n") < _FEW_LINES:
        head = read_head(uri, _LONG_HEAD_BYTES)
    per_row = len(head) / max(1, head.count(b"\n"))
    return max(1.0, per_row / (_GZIP_RATIO if uri.lower().endswith(".gz") else 1))


def letters(text: str) -> bytes:
    """Return the letters and digits of a text in lower case; the text itself if it has none."""
    if text.isascii():  # much faster
        same = text.lower().encode().translate(None, _ASCII_BESIDES_LETTERS)
    else:
        same = _encoded(_BESIDES_LETTERS.sub("", comparable(text).casefold()))
    return same or _encoded(text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Candidate:
    """A row that was read, and a number that depends on its content only."""

    found: Found
    mark: int
    near: int  # a hash that texts of the same letters share, in this process
    size: int  # bytes that it takes, about

    def is_chosen(self, step: int) -> bool:
        """Return whether the row is one of those to check; a file that breaks off always is."""
        values = self.found.values
        is_broken = isinstance(values, BadRow) and values.kind == UNREADABLE
        return is_broken or self.mark % step == 0


def candidate(rules: Rules, found: Found) -> Candidate:
    """Mark a row by the content that its columns give, or by its key if they give none."""
    content = _content(rules, found)
    if isinstance(content, bytes):
        same = content
    else:
        same = letters(content) if rules.image is None else _encoded(content)
    return Candidate(found, zlib.crc32(same), hash(same), len(content))


def _content(rules: Rules, found: Found) -> str | bytes:
    if isinstance(found.values, BadRow):
        return found.key
    if rules.columns:
        with suppress(BadRow):
            return row_text(rules.columns, found.values)
        return found.key
    if len(rules.texts) > 1:
        parts = [found.values.get(name) for name in rules.texts]
        return joined([str(part) for part in parts]) if all(parts) else found.key
    value = found.values.get(str(rules.text or rules.image))
    if not isinstance(value, str | bytes) and isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, str | bytes) and value else found.key
