"""Files that samples come from: which there are, and the rows in them; local or on s3://.

A row that cannot be read is a `BadRow` in the place of the row, so that one broken line costs one
row and not its file. Only a file that nobody could read (no permission, no network) is an error.
"""

import csv
import fnmatch
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from umc_ray.errors import DataError

_TEXTS = (".jsonl", ".ndjson", ".csv", ".tsv")
TABLES = (".parquet", *_TEXTS, *(f"{suffix}.gz" for suffix in _TEXTS))
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

MAX_LINE_CHARS = 1 << 26
BATCH_BYTES = 1 << 25  # of a Parquet file, uncompressed, in memory at once

Values = Mapping[str, Any]


class BadRow(DataError):
    """A row that cannot be used: `kind` is what it is counted as, `detail` what was found."""

    def __init__(self, kind: str, detail: str = "") -> None:
        """Keep the detail short and on one line: it may hold what came out of a broken file."""
        self.kind = kind
        text = " ".join(detail.split())
        super().__init__(f"{kind}: {text[:200]}" if text else kind)


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when the sources were listed."""

    uri: str
    size: int
    mtime_ns: int


@lru_cache(maxsize=64)
def _bucket(scheme: str, bucket: str) -> pafs.FileSystem:
    return pafs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI and the path in it, which may hold any character.

    Raises:
        BadRow: there is no such kind of file system.
        DataError: it cannot be reached.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    scheme, path = uri.split("://", 1)
    try:
        return _bucket(scheme, path.split("/", 1)[0]), path
    except pa.ArrowInvalid as error:
        raise BadRow("unsupported address", f"{uri}: {error}") from error
    except OSError as error:
        raise DataError(f"cannot open {uri}: {error}") from error


def list_files(sources: Sequence[str], suffixes: tuple[str, ...]) -> dict[str, list[SourceFile]]:
    """Return the files of each source: a file, a glob, or all files with a suffix in a folder.

    Files are sorted within a source; one that two sources name belongs to the first.

    Raises:
        DataError: a source does not exist, has no matching file, or is a file of another kind.
    """
    found: dict[str, list[SourceFile]] = {}
    seen: set[str] = set()
    for source in sources:
        files = [file for file in _list_source(source, suffixes) if file.uri not in seen]
        seen.update(file.uri for file in files)
        found[source] = files
    return found


def _list_source(source: str, suffixes: tuple[str, ...]) -> list[SourceFile]:
    filesystem, path = locate(source)
    path = path.rstrip("/") or "/"
    prefix = source[: source.index("://") + 3] if "://" in source else ""
    info = _info(filesystem, path, source)
    if info.type == pafs.FileType.File:
        if not _has_suffix(path, suffixes):
            raise DataError(f"{source} is none of {' '.join(suffixes)}")
        return [SourceFile(source, info.size, info.mtime_ns or 0)]
    if info.type == pafs.FileType.Directory:
        folder, pattern = path, ["**"]
    else:
        folder, pattern = _split_glob(path)
        if not pattern:
            raise DataError(f"{source} does not exist")
    infos = _walk(filesystem, folder, source)
    files = [
        SourceFile(prefix + info.path, info.size, info.mtime_ns or 0)
        for info in infos
        if info.type == pafs.FileType.File
        and _has_suffix(info.path, suffixes)
        and _is_named(info.path[len(folder) :].strip("/").split("/"), pattern)
    ]
    if not files:
        raise DataError(
            f"{source} matches no file that ends in {' '.join(suffixes)}; "
            f"{folder} holds {len(infos)} files and folders"
        )
    return sorted(files, key=lambda file: file.uri)


def _info(filesystem: pafs.FileSystem, path: str, source: str) -> pafs.FileInfo:
    try:
        return filesystem.get_file_info(path)
    except OSError as error:
        raise DataError(f"cannot look up {source}: {error}") from error


def _walk(filesystem: pafs.FileSystem, folder: str, source: str) -> list[pafs.FileInfo]:
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    try:
        return list(filesystem.get_file_info(selector))
    except (OSError, UnicodeDecodeError) as error:  # a name that is not UTF-8
        raise DataError(f"cannot list {source}: {error}") from error


def _has_suffix(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes)


def _split_glob(path: str) -> tuple[str, list[str]]:
    """Split a path before its first step with a wildcard."""
    steps = path.split("/")
    for index, step in enumerate(steps):
        if any(char in step for char in "*?["):
            return "/".join(steps[:index]) or "/", steps[index:]
    return path, []


def _is_named(steps: list[str], pattern: list[str]) -> bool:
    """Whether a glob names a file or a folder above it; hidden files and folders don't count."""
    if any(step.startswith(".") for step in steps):
        return False
    return any(_matches(steps[:stop], pattern) for stop in range(1, len(steps) + 1))


def _matches(steps: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_matches(steps[skip:], pattern[1:]) for skip in range(len(steps) + 1))
    if not steps or not fnmatch.fnmatchcase(steps[0], pattern[0]):
        return False
    return _matches(steps[1:], pattern[1:])


def common_folder(sources: Iterable[str]) -> str:
    """Return the deepest folder that holds all sources, without wildcards; "" if there is none."""
    folders = []
    for source in sources:
        steps = _split_glob(source.rstrip("/"))[0].split("/")
        is_file = steps[-1].lower().endswith(TABLES + IMAGES)
        folders.append(steps[:-1] if is_file else steps)
    common = []
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return "/".join(common)


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        BadRow: there is no such file, or it is larger than max_bytes.
        DataError: the file system cannot be reached.
    """
    try:
        filesystem, path = locate(uri)
        with filesystem.open_input_file(path) as file:
            if file.size() > max_bytes:
                raise BadRow("image too large", f"{file.size()} bytes")
            return bytes(file.read())
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(uri, error) from error


def _unreadable(uri: str, error: Exception) -> DataError:
    """Tell a broken or missing file, which costs a row, from trouble that would cost them all."""
    outage = "AWS Error" in str(error) or isinstance(error, PermissionError)
    if outage and not isinstance(error, FileNotFoundError):
        return DataError(f"cannot read {uri}: {error}")
    return BadRow("unreadable file", str(error))


def read_rows(
    uri: str,
    columns: Sequence[str],
    optional: Sequence[str],
    max_chars: int,
    groups: range | None = None,
) -> Iterator[tuple[int, Values | BadRow]]:
    """Read a table file row by row in bounded memory; rows count from 1, without a header.

    `max_chars` bounds a CSV field. `groups` names the row groups of a Parquet file to read. A file
    that breaks off is a BadRow with the number of the row where it did.

    Raises:
        DataError: one of the columns is missing, or the file system cannot be reached.
    """
    suffix = uri.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    number = 0
    try:
        rows: Iterator[tuple[int, Values | BadRow]]
        if suffix == "parquet":
            rows = _read_parquet(uri, columns, optional, groups)
        elif suffix in ("csv", "tsv"):
            rows = _read_csv(uri, columns, max_chars)
        else:
            rows = _read_jsonl(uri)
        for number, values in rows:
            yield number, values
    except (OSError, pa.ArrowException, EOFError) as error:
        problem = _unreadable(uri, error)
        if not isinstance(problem, BadRow):
            raise problem from error
        yield number + 1, problem


def row_groups(uri: str) -> list[int]:
    """Return the rows of each row group of a Parquet file; none if it cannot be read."""
    filesystem, path = locate(uri)
    try:
        metadata = pq.read_metadata(path, filesystem=filesystem)
    except (OSError, pa.ArrowException):
        return []
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _check_columns(uri: str, columns: Sequence[str], found: Sequence[str]) -> None:
    missing = [column for column in columns if column not in found]
    if missing:
        raise DataError(f"{uri} has no column {missing[0]!r}; it has {', '.join(found)}")


def _read_parquet(
    uri: str, columns: Sequence[str], optional: Sequence[str], groups: range | None
) -> Iterator[tuple[int, Values | BadRow]]:
    filesystem, path = locate(uri)
    with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
        _check_columns(uri, columns, file.schema_arrow.names)
        wanted = [name for name in file.schema_arrow.names if name in {*columns, *optional}]
        sizes = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        chosen = range(file.num_row_groups) if groups is None else groups
        number = sum(size.num_rows for size in sizes[: chosen.start])
        for group in chosen:
            width = max(1, sizes[group].total_byte_size // max(1, sizes[group].num_rows))
            batch_size = min(8192, max(1, BATCH_BYTES // width))
            for batch in file.iter_batches(batch_size, row_groups=[group], columns=wanted):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values


def _open_text(uri: str, newline: str) -> io.TextIOWrapper:
    """Open a text file, unpacked; bytes that are not UTF-8 become lone surrogates."""
    filesystem, path = locate(uri)
    stream = filesystem.open_input_stream(path, compression="detect", buffer_size=1 << 20)
    return io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline=newline)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines, of an endless one the start only, so that memory is bounded."""
    while line := text.readline(MAX_LINE_CHARS):
        rest = line
        while rest and not rest.endswith(("\n", "\r")):
            rest = text.readline(MAX_LINE_CHARS)
        yield line


def _read_jsonl(uri: str) -> Iterator[tuple[int, Values | BadRow]]:
    with _open_text(uri, "\n") as text:
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                yield number, _parse_json(line)


def _parse_json(line: str) -> Values | BadRow:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow("broken JSON", str(error))
    return values if isinstance(values, dict) else BadRow("broken JSON", "not an object")


class _Rewindable:
    """Lines that can be read again, so that an open quote costs a line and not all after it."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._taken, self._again = lines, list[str](), list[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self._taken.append(line)
        return line

    def commit(self) -> None:
        """Never return to the lines taken so far."""
        self._taken.clear()

    def rewind(self) -> None:
        """Return to the line after the first one taken since the last commit."""
        self._again.extend(reversed(self._taken[1:]))
        self._taken.clear()


def _read_csv(
    uri: str, columns: Sequence[str], max_chars: int
) -> Iterator[tuple[int, Values | BadRow]]:
    csv.field_size_limit(max(csv.field_size_limit(), max_chars))  # of the whole process
    delimiter = "\t" if ".tsv" in uri.lower()[-7:] else ","
    with _open_text(uri, "") as text:
        lines = _Rewindable(_lines(text))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, None)
        if header is None:
            return
        _check_columns(uri, columns, header)
        number = 0
        while (values := _next_record(reader, lines, header)) is not None:
            if values:
                number += 1
                yield number, values


def _next_record(
    reader: Iterator[list[str]], lines: _Rewindable, header: list[str]
) -> Values | BadRow | None:
    """Return the next record: {} for an empty line, None at the end."""
    lines.commit()
    try:
        fields = next(reader, None)
    except csv.Error as error:
        lines.rewind()
        return BadRow("broken CSV", str(error))
    if not fields:
        return None if fields is None else {}
    if len(fields) != len(header):
        return BadRow("broken CSV", f"{len(fields)} fields, the header has {len(header)}")
    return dict(zip(header, fields, strict=True))


def beside(table: str, path: str) -> str:
    """Return a path that a table holds, relative to the table's folder."""
    if "://" in path or Path(path).is_absolute():
        return path
    return f"{table.rsplit('/', 1)[0]}/{path}"
