"""Write CSV files that are safe to open in spreadsheet programs, and read them back."""

import csv
import io
from collections.abc import Iterator, Sequence

from umc_ray.errors import DataError

MAX_CELL = 30_000  # spreadsheet programs truncate cells at 32,767 characters
FORMULA_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # the last four are full-width =+-@
Record = tuple[int, dict[str, str]]  # first line of the row, from 1; cells by column


def write_records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Write cells so that none is evaluated as a formula; truncate long ones."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(columns)
    writer.writerows([_safe(cell[:MAX_CELL]) for cell in row] for row in rows)
    return sheet.getvalue().encode("utf-8-sig")  # programs recognize UTF-8 by the byte order mark


def read_records(data: bytes, columns: Sequence[str], path: str) -> list[Record]:
    """Read the non-empty rows; the delimiter may be a comma, a semicolon or a tab.

    Raises:
        DataError: not UTF-8, not CSV, or a missing column; with path and line.
    """
    lines = _lines(data, path)
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


def _lines(data: bytes, path: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the sheet as UTF-8 CSV") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            yield start, [_plain(cell.strip()).strip() for cell in cells]
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{start}: not CSV: {error}") from error


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.lstrip().startswith(FORMULA_STARTS) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _safe(cell[1:]) != cell[1:] else cell
