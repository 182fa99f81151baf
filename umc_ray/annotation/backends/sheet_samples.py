"""Whether each row of a sheet still has the sample that it was written with.

Who sorts one column alone gives labels to other samples than those that were read. Spreadsheet
programs change cells, too: numbers, dates and truth values are written in their own way, long
cells are cut, and characters that an encoding lacks become question marks. So a cell that differs
is wrong if it has the text of another sample, or if no program would have made it of its own.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.spreadsheet import MAX_CELL
from umc_ray.methods.text_pair import parts_of
from umc_ray.methods.unicode_text import without_invisible

MANY = 10_000
"""Characters that no program leaves out; the strictest ones cut cells at 32,767."""

MAX_VALUE = 40
"""Characters of a number, date or time, which programs write in their own way."""

TRUTH = ("true", "false")

_WORDS = re.compile(r"[^\W\d_]+")
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


class SampleCells:
    """What the columns of samples of a sheet have to hold."""

    def __init__(self, columns: Sequence[str], texts: Mapping[SampleKey, str | None]) -> None:
        """Take the columns, and the samples that were asked about; None stands for an image."""
        self._columns = columns
        self._cells = {
            key: None if text is None else cells_of(text, len(columns))
            for key, text in texts.items()
        }
        rows = [cells for cells in self._cells.values() if cells is not None]
        self._known = [{_one_line(row[i]) for row in rows} for i in range(len(columns))]

    def differing(self, key: SampleKey, found: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the first column with another sample, and what it has; None if all are right.

        A column that is gone is not compared.
        """
        cells = self._cells[key]
        for i, column in enumerate(self._columns):
            cell = found.get(column)
            if cell is None:
                continue
            if cells is None:
                return None if _is_image_of(cell, key) else (column, cell)
            if not _is_same(cell, cells[i], self._known[i]):
                return column, cell
        return None


def cells_of(text: str, columns: int) -> list[str]:
    """Return what stands in the columns of samples, of which pairs have two."""
    return [*parts_of(text), ""][:columns]


def _is_image_of(cell: str, key: SampleKey) -> bool:
    """Whether a cell has the path of a sample's image, in whatever folder."""
    return PurePosixPath(cell.replace("\\", "/")).stem == f"s{key[2]}"


def _is_same(found: str, written: str, texts: Collection[str]) -> bool:
    """Whether a cell is what was written, as far as a spreadsheet program can have changed it."""
    now, before = _one_line(found), _one_line(written)
    if now == before or _is_same_number(now, before):
        return True
    if now in texts:
        return False
    plain = _plain(now)
    is_cut = len(now) >= MANY and _plain(before).startswith(plain)
    return plain == _plain(before) or is_cut or _is_value(before)


def _one_line(cell: str) -> str:
    return without_invisible(cell[:MAX_CELL])


def _plain(text: str) -> str:
    """Return the ASCII letters and digits of a text, which every encoding has."""
    return _NOT_PLAIN.sub("", text.casefold())


def _is_same_number(now: str, before: str) -> bool:
    try:
        return float(now) == float(before)
    except ValueError:
        return False


def _is_value(text: str) -> bool:
    """Whether a program may take a text for a number, a date, a time or a truth value."""
    if text.casefold() in TRUTH:
        return True
    is_short = len(text) <= MAX_VALUE and len(_WORDS.findall(text)) <= 2
    return is_short and any(char.isdigit() for char in text)
