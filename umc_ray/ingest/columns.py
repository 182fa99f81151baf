"""The columns that a domain names, against those that a table has."""

import csv
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umc_ray.errors import DataError
from umc_ray.ingest.text_files import read_head, suggested_encoding
from umc_ray.methods.unicode_text import escaped

DELIMITERS = (",", ";", "\t", "|")

Values = Mapping[str, Any]


@dataclass(frozen=True)
class TableFormat:
    """What a domain says about its tables."""

    columns: tuple[str, ...]  # that a table must have
    optional: tuple[str, ...] = ()  # that are read where it has them
    class_column: str | None = None  # its numbers become names, where a table holds the names
    encoding: str | None = None  # of text files; None: UTF-8, or as the byte order mark says
    delimiter: str | None = None  # of CSV; None: by the file's suffix
    in_command: bool = False  # whether a command names it; else the campaign file does

    @property
    def wanted(self) -> set[str]:
        """All columns that are read."""
        return {*self.columns, *self.optional}


def check_columns(uri: str, table: TableFormat, available: Sequence[str]) -> None:
    """Make sure that a table has each wanted column once.

    Raises:
        DataError: names the column.
    """
    _check_repeated(uri, table, available)
    missing = [column for column in table.columns if column not in available]
    if missing:
        raise DataError(_missing(uri, missing[0], available))


def check_csv_columns(
    uri: str, table: TableFormat, available: Sequence[str], header: str, delimiter: str
) -> None:
    """Do the same for a CSV file, and suggest options that would read it.

    Raises:
        DataError: names the column and the options.
    """
    _check_repeated(uri, table, available)
    missing = [column for column in table.columns if column not in available]
    if not missing:
        return
    options = {}
    fitting = _fitting_delimiter(header, table)
    if fitting is not None and fitting != delimiter:
        options["delimiter"] = _quoted(fitting)
    encoding = None if table.encoding else suggested_encoding(read_head(uri))
    if encoding is not None:
        options["encoding"] = encoding
    found, advice = _missing(uri, missing[0], available), _advice(table, options)
    between = " " if found.endswith("?") else ". "
    raise DataError(f"{found}{between}{advice}" if advice else found)


def _advice(table: TableFormat, options: Mapping[str, str]) -> str:
    if not options:
        return ""
    if table.in_command:
        return f"To read it, add {' '.join(f'--{name} {options[name]}' for name in options)}"
    listed = " and ".join(f"{name}: {value}" for name, value in options.items())
    return f"To read it, add {listed} to the domain"


def _check_repeated(uri: str, table: TableFormat, available: Sequence[str]) -> None:
    for column in sorted(table.wanted):
        places = [str(i) for i, name in enumerate(available, start=1) if name == column]
        if len(places) > 1:
            raise DataError(
                f"{uri} has {len(places)} columns of the name '{escaped(column)}', "
                f"columns {' and '.join(places)}: rename or remove one of them"
            )


def _missing(uri: str, column: str, available: Sequence[str]) -> str:
    listed = ", ".join(map(escaped, available))
    close = difflib.get_close_matches(column.casefold(), [n.casefold() for n in available], n=1)
    meant = next((n for n in available if close and n.casefold() == close[0]), None)
    suggestion = "" if meant is None else f"; did you mean '{escaped(meant)}'?"
    return f"{uri} has no column '{escaped(column)}'; it has {listed}{suggestion}"


def _fitting_delimiter(header: str, table: TableFormat) -> str | None:
    for delimiter in DELIMITERS:
        try:
            (names, *_) = csv.reader([header], delimiter=delimiter)
        except (csv.Error, ValueError):
            continue
        if set(table.columns) <= set(names):
            return delimiter
    return None


def _quoted(delimiter: str) -> str:
    return '"\\t"' if delimiter == "\t" else f'"{delimiter}"'
