"""Read rows of table files (Parquet, JSON lines, CSV) in bounded memory, even if they are broken.

A row that cannot be read is replaced by a `BadRow`, so that a broken line costs one row, not the
file. An error is raised only if the file is inaccessible (no permission, no network).
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from umc_ray.errors import DataError
from umc_ray.ingest.sources import BadRow, locate, read_error

MAX_LINE_CHARS = 1 << 26
MIN_FIELD_CHARS = 1 << 17  # lower bound for the size limit of a CSV field
BATCH_BYTES = 1 << 25  # uncompressed bytes of a Parquet file in memory at once

Values = Mapping[str, Any]


def read_rows(
    uri: str,
    columns: Sequence[str],
    optional: Sequence[str],
    max_chars: int,
    groups: range | None = None,
) -> Iterator[tuple[int, Values | BadRow]]:
    """Yield numbered rows of a table file in bounded memory; rows count from 1, after the header.

    `max_chars` limits the length of a CSV field. `groups` selects row groups of a Parquet file. If
    the file breaks off, the last row is a BadRow.

    Raises:
        DataError: a required column is missing, or the file is inaccessible.
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
    except (OSError, pa.ArrowException, csv.Error) as error:
        problem = read_error("file", uri, error)
        if not isinstance(problem, BadRow):
            raise problem from error
        yield number + 1, problem


def row_groups(uri: str) -> list[int]:
    """Return the number of rows in each row group of a Parquet file; empty if it is unreadable."""
    filesystem, path = locate(uri)
    try:
        metadata = pq.read_metadata(path, filesystem=filesystem)
    except (OSError, pa.ArrowException):
        return []
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _check_columns(uri: str, columns: Sequence[str], available: Sequence[str]) -> None:
    missing = [column for column in columns if column not in available]
    if missing:
        raise DataError(f"{uri} has no column {missing[0]!r}; it has {', '.join(available)}")


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
                for values in _python_rows(batch):
                    number += 1
                    yield number, values


def _python_rows(batch: pa.RecordBatch) -> Iterable[Values | BadRow]:
    try:
        rows: list[Values] = batch.to_pylist()
        return rows
    except UnicodeDecodeError:
        return (_python_row(batch.slice(row, 1)) for row in range(len(batch)))


def _python_row(row: pa.RecordBatch) -> Values | BadRow:
    try:
        values: Values = row.to_pylist()[0]
        return values
    except UnicodeDecodeError as error:
        return BadRow("not UTF-8", str(error))


def _open_text(uri: str, newline: str) -> io.TextIOWrapper:
    """Open a text file, decompressed; bytes that are not UTF-8 become lone surrogates."""
    filesystem, path = locate(uri)
    stream = filesystem.open_input_stream(path, compression="detect", buffer_size=1 << 20)
    return io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline=newline)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; very long lines are truncated, so that memory is bounded."""
    while line := text.readline(MAX_LINE_CHARS):
        rest = line
        while rest and not rest.endswith(("\n", "\r")):
            rest = text.readline(MAX_LINE_CHARS)
        yield line


def _read_jsonl(uri: str) -> Iterator[tuple[int, Values | BadRow]]:
    with _open_text(uri, "\n") as text:
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                yield number, _parse_json(line.rstrip("\r\n"))


def _parse_json(line: str) -> Values | BadRow:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow("broken JSON", str(error))
    return values if isinstance(values, dict) else BadRow("broken JSON", "not an object")


class _Rewindable:
    """Lines that can be read again, so that an unclosed quote costs only one line."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._consumed, self._pending = lines, list[str](), list[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pending.pop() if self._pending else next(self._lines)
        self._consumed.append(line)
        return line

    def commit(self) -> None:
        """Forget the lines read so far."""
        self._consumed.clear()

    def rewind(self) -> None:
        """Go back to the second line read since the last commit."""
        self._pending.extend(reversed(self._consumed[1:]))
        self._consumed.clear()


def _read_csv(
    uri: str, columns: Sequence[str], max_chars: int
) -> Iterator[tuple[int, Values | BadRow]]:
    csv.field_size_limit(
        max(MIN_FIELD_CHARS, max_chars)
    )  # a global of the csv module, so set for each file
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
    """Return the next record; {} for an empty line, None at the end of the file."""
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
