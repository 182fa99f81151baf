"""Read CSV as Python's csv module does, and say where it is broken.

A field may be of any length and have any line ends in it. Where more text follows a quoted field,
the quote that opened it was a stray one: the record's first line is a bad row, and its second line
is read as the next record. Where a quote never closes, nobody knows which of the lines after it are
rows: each of them is a bad row.
"""

import csv
import re
from collections.abc import Iterator

from umc_ray.ingest.columns import TableFormat, Values, check_csv_columns
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.text_files import MAX_LINE_CHARS, lines, open_text

MAX_FIELD_CHARS = 2 * MAX_LINE_CHARS
"""The bound of memory. A longer field counts as one whose quote never closes."""


_SEP = re.compile(r"sep=([^\"\r\n])\r?\n?", re.IGNORECASE)
"""A first line that Excel reads as the name of the delimiter."""


class _Rewindable:
    """Lines that can be read again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._pending = lines, list[str]()
        self.consumed = list[str]()  # since the last commit
        self.at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._pending.pop() if self._pending else next(self._lines)
        except StopIteration:
            self.at_end = True
            raise
        self.consumed.append(line)
        return line

    def commit(self) -> None:
        """Forget the lines read so far."""
        self.consumed.clear()

    def rewind(self, keep: int) -> None:
        """Go back to the line after the first `keep` lines since the last commit."""
        self._pending.extend(reversed(self.consumed[keep:]))
        self.consumed.clear()
        self.at_end = False


def read_csv(uri: str, table: TableFormat) -> Iterator[tuple[int, Values | BadRow]]:
    """Yield the numbered records of a CSV file, as text by column.

    Raises:
        DataError: a wanted column is missing, or there are two of its name.
    """
    csv.field_size_limit(MAX_FIELD_CHARS)  # a global of the csv module, so set for each file
    suffix = uri.lower().removesuffix(".gz")
    default = "\t" if suffix.endswith(".tsv") else ","
    with open_text(uri, "", table.encoding) as text:
        source = _Rewindable(lines(text))
        named = _named_delimiter(source)
        delimiter = table.delimiter or named or default
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        header = next(reader, None)
        if header is None:
            return
        check_csv_columns(uri, table, header, "".join(source.consumed), delimiter)
        yield from enumerate(_records(reader, source, header), start=1)


def _named_delimiter(source: _Rewindable) -> str | None:
    """Return the delimiter that a first line such as `sep=;` names, and pass over the line."""
    found = _SEP.fullmatch(next(source, ""))
    if found is None:
        source.rewind(keep=0)
        return None
    source.commit()
    return found[1]


def _records(
    reader: Iterator[list[str]], source: _Rewindable, header: list[str]
) -> Iterator[Values | BadRow]:
    while True:
        source.commit()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if source.at_end or "field limit" in str(error):
                yield from _unclosed(source)
                return
            source.rewind(keep=1)
            yield BadRow("broken CSV", f"{error}; double a quote in a field")
            continue
        if fields is None:
            return
        if fields:  # an empty line is no row
            yield _values(fields, header)


def _values(fields: list[str], header: list[str]) -> Values | BadRow:
    if len(fields) != len(header):
        return BadRow("broken CSV", f"{len(fields)} fields, the header has {len(header)}")
    return dict(zip(header, fields, strict=True))


def _unclosed(source: _Rewindable) -> Iterator[BadRow]:
    """Yield a bad row for each line from the one with the quote to the end of the file."""
    source.rewind(keep=0)
    first = True
    for line in source:
        source.commit()
        if line.strip("\r\n"):
            where = "here" if first else "above"
            yield BadRow("unclosed quote", f"a quote that opens {where} never closes; double it")
            first = False
