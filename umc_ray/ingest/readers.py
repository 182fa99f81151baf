"""Read rows of table files (Parquet, Arrow, JSON lines, CSV) in bounded memory, even broken ones.

A row that cannot be read is replaced by a `BadRow`, so that a broken line costs one row, not the
file. An error is raised only if the file is inaccessible (no permission, no network) or does not
have the columns.
"""

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from umc_ray.ingest.class_names import class_names, name_classes
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.csv_files import read_csv
from umc_ray.ingest.sources import BadRow, locate, read_error
from umc_ray.ingest.text_files import lines, open_text
from umc_ray.methods.json_objects import unique_keys

BATCH_BYTES = 1 << 25  # uncompressed bytes of a Parquet or Arrow file in memory at once
BATCH_ROWS = 8192

Rows = Iterator[tuple[int, Values | BadRow]]


def read_rows(uri: str, table: TableFormat, groups: range | None = None) -> Rows:
    """Yield numbered rows of a table file in bounded memory; rows count from 1, after the header.

    `groups` selects row groups of a Parquet file. If the file breaks off, the last row is a BadRow.

    Raises:
        DataError: a wanted column is missing or there are two of its name, or the file is
            inaccessible.
    """
    number = 0
    try:
        for number, values in _reader(uri, table, groups):
            yield number, values
    except BadRow as error:
        yield number + 1, error
    except (OSError, pa.ArrowException, csv.Error) as error:
        problem = read_error("file", uri, error)
        if not isinstance(problem, BadRow):
            raise problem from error
        yield number + 1, problem


def _reader(uri: str, table: TableFormat, groups: range | None) -> Rows:
    suffix = uri.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if suffix == "parquet":
        return _read_parquet(uri, table, groups)
    if suffix == "arrow":
        return _read_arrow(uri, table)
    return read_csv(uri, table) if suffix in ("csv", "tsv") else read_jsonl(uri, table)


def row_groups(uri: str) -> list[int]:
    """Return the number of rows in each row group of a Parquet file; empty if it is unreadable."""
    filesystem, path = locate(uri)
    try:
        metadata = pq.read_metadata(path, filesystem=filesystem)
    except (OSError, pa.ArrowException):
        return []
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _read_parquet(uri: str, table: TableFormat, groups: range | None) -> Rows:
    filesystem, path = locate(uri)
    with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
        check_columns(uri, table, file.schema_arrow.names)
        wanted = [name for name in file.schema_arrow.names if name in table.wanted]
        sizes = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        chosen = range(file.num_row_groups) if groups is None else groups
        number = sum(size.num_rows for size in sizes[: chosen.start])
        for group in chosen:
            batch_size = _batch_rows(sizes[group].total_byte_size, sizes[group].num_rows)
            for batch in file.iter_batches(batch_size, row_groups=[group], columns=wanted):
                for values in _python_rows(batch, table.class_column):
                    number += 1
                    yield number, values


def _read_arrow(uri: str, table: TableFormat) -> Rows:
    number = 0
    for batch in _arrow_batches(uri):
        if number == 0:
            check_columns(uri, table, batch.schema.names)
        kept = batch.select([name for name in batch.schema.names if name in table.wanted])
        step = _batch_rows(kept.nbytes, len(kept))
        for start in range(0, len(kept), step):
            for values in _python_rows(kept.slice(start, step), table.class_column):
                number += 1
                yield number, values


def _arrow_batches(uri: str) -> Iterator[pa.RecordBatch]:
    """Read the batches of an IPC file or stream, after an empty one that has the schema."""
    filesystem, path = locate(uri)
    with filesystem.open_input_file(path) as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        with pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream) as reader:
            yield pa.RecordBatch.from_pylist([], reader.schema)
            if is_file:
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                yield from reader


def _batch_rows(size: int, rows: int) -> int:
    """Return how many rows of so many bytes in all fit in memory."""
    return min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, size // max(1, rows))))


def _python_rows(batch: pa.RecordBatch, class_column: str | None) -> Iterator[Values | BadRow]:
    names = class_names(batch.schema, class_column)
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        rows = [_python_row(batch.slice(row, 1)) for row in range(len(batch))]
    for values in rows:
        if not isinstance(values, BadRow):
            name_classes(values, class_column, names)
        yield values


def _python_row(row: pa.RecordBatch) -> dict[str, Any] | BadRow:
    try:
        values: dict[str, Any] = row.to_pylist()[0]
        return values
    except UnicodeDecodeError as error:
        return BadRow("not UTF-8", str(error))


_ARRAY = re.compile(r"\s*\[\s*(\{|$)")
ONE_ARRAY = (
    "it is one JSON array, not one object per line: write it anew, as pandas does with "
    "to_json(orient='records', lines=True)"
)


def read_jsonl(uri: str, table: TableFormat) -> Rows:
    """Yield the numbered objects of a file of JSON lines.

    Raises:
        BadRow: it is something else.
    """
    with open_text(uri, "\n", table.encoding) as text:
        for number, line in enumerate(lines(text), start=1):
            if line.strip():
                if _ARRAY.match(line):
                    raise BadRow("unreadable file", ONE_ARRAY)
                yield number, _parse_json(line.rstrip("\r\n"))


def _parse_json(line: str) -> Values | BadRow:
    try:
        values = json.loads(line, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        return BadRow("broken JSON", str(error))
    return values if isinstance(values, dict) else BadRow("broken JSON", "not an object")
