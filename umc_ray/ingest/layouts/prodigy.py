"""Exports of Prodigy (db-out): JSON lines with a task and an answer each.

Lines about the same input are one row: its labels are those that were accepted one by one, or the
last choice among all. What was rejected says only what an input is not, and what was ignored says
nothing: a row of which that is all has no label. An empty choice says that none fits.

Source: Prodigy documentation, "Annotation interfaces": classification, choice
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.labels import COLUMNS, with_labels, without_labels
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_jsonl
from umc_ray.ingest.sources import BadRow

REJECTED = "lines that were rejected: no label"
IGNORED = "lines that were ignored: no label"
SEVERAL = "inputs with several choices: the last one counts"

_MARKS = ('"_input_hash"', '"_task_hash"')


@dataclass(frozen=True)
class Prodigy(Layout):
    """Inputs with the labels that people accepted."""

    name: ClassVar[str] = "prodigy"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    has_lists: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize lines with the hashes that Prodigy gives to inputs and tasks."""
        found = filter(_is_export, place.first_files(".jsonl"))
        return next((f"_task_hash in {file.name}" for file in found), None)

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split, or take one file."""
        if place.is_file:
            return cls.of_file(place)
        splits = by_split(file.name for file in place.files(".jsonl") if _is_export(file))
        if not splits:
            raise DataError(f"{place.uri} has no export of Prodigy: JSON lines with _task_hash")
        return cls.of_split(place, asked, splits)

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield a row for each input, numbered by its first line."""
        bad, inputs = _grouped(read_jsonl(uri, table), notes)
        names = dict.fromkeys(name for each in inputs for name in each.row)
        if inputs:
            check_columns(uri, table, list(dict.fromkeys([*names, *COLUMNS])))
        rows: list[tuple[int, Values | BadRow]] = [*bad, *((e.line, e.values) for e in inputs)]
        yield from sorted(rows, key=lambda row: row[0])


@dataclass
class _Input:
    """An input, and what its lines say of it."""

    line: int  # the first
    row: dict[str, Any]
    labels: list[str] = field(default_factory=list)
    is_answered: bool = False

    @property
    def values(self) -> Values:
        return with_labels(self.row, self.labels) if self.is_answered else without_labels(self.row)


def _is_export(file: Place) -> bool:
    return all(mark in file.first_line() for mark in _MARKS)


def _grouped(
    rows: Iterable[tuple[int, Values | BadRow]], notes: Counter[str]
) -> tuple[list[tuple[int, BadRow]], list[_Input]]:
    bad, inputs = list[tuple[int, BadRow]](), dict[object, _Input]()
    for number, values in rows:
        if isinstance(values, BadRow):
            bad.append((number, values))
            continue
        name = values.get("_input_hash", ("line", number))
        one = inputs.setdefault(name, _Input(number, dict(values)))
        _answer(one, values, notes)
    return bad, list(inputs.values())


def _answer(one: _Input, values: Values, notes: Counter[str]) -> None:
    """Add what a line says to its input."""
    answer = values.get("answer", "accept")
    if answer != "accept":
        notes[REJECTED if answer == "reject" else IGNORED] += 1
        return
    accepted = values.get("accept")
    if isinstance(accepted, list):  # a choice among all labels; a label is accepted by itself
        if one.is_answered:
            notes[SEVERAL] += 1
        one.labels, one.is_answered = [str(each) for each in accepted], True
    elif values.get("label") is not None:
        one.labels, one.is_answered = [*one.labels, str(values["label"])], True
