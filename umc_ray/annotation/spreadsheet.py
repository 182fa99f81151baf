"""Write CSV files that are safe to open in spreadsheet programs, and read them back.

A cell that a program could evaluate gets an apostrophe in front, which reading takes away again.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from umc_ray.errors import DataError

MAX_CELL = 30_000  # spreadsheet programs truncate cells at 32,767 characters
_FORMULA = re.compile(r"[\s']*[-=+@\uff1d\uff0b\uff0d\uff20]")  # the last four are full-width =+-@
Record = tuple[int, dict[str, str]]  # first line of the row, from 1; cells by column


def write_records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Write cells so that none is evaluated as a formula; truncate long ones."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(columns)
    writer.writerows([_safe(cell[:MAX_CELL]) for cell in row] for row in rows)
    return sheet.getvalue().encode("utf-8-sig")  # programs recognize UTF-8 by the byte order mark


def read_records(
    data: bytes, columns: Sequence[str], path: str, guarded: bool = True
) -> list[Record]:
    """Read the non-empty rows; the delimiter may be a comma, a semicolon or a tab.

    Cells that `write_records` wrote are guarded; those of other tables stay as they are.

    Raises:
        DataError: not UTF-8, not CSV, or a missing column; with path and line.
    """
    lines = _sheet_lines(data, path) if guarded else _lines(data, path)
    start, header = next(lines, (1, []))
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(
            f"{path}:{start}: missing column {', '.join(missing)}; the columns are {header}"
        )
    empty = dict.fromkeys(columns, "")  # some programs drop empty cells at the end of a row
    return [
        (start, {**empty, **dict(zip(header, cells, strict=False))})
        for start, cells in lines
        if any(cells)
    ]


def _sheet_lines(data: bytes, path: str) -> Iterator[tuple[int, list[str]]]:
    for start, cells in _lines(data, path):
        yield start, [_plain(cell.strip()).strip() for cell in cells]


def _lines(data: bytes, path: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the sheet as UTF-8 CSV") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a global of the csv module
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{start}: not CSV: {error}") from error


def _safe(cell: str) -> str:
    return f"'{cell}" if _needs_guard(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _needs_guard(cell[1:]) else cell


def _needs_guard(cell: str) -> bool:
    """Say whether a cell is a formula, or could be read as one that is guarded already."""
    return _FORMULA.match(cell) is not None
