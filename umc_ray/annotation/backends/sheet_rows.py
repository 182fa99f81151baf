"""The rows of a sheet: reading them, and comparing them with the votes that were asked for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from umc_ray.annotation.annotators import check_annotator
from umc_ray.annotation.spreadsheet import read_records
from umc_ray.annotation.store import Question
from umc_ray.errors import DataError

Slot = tuple[str, int, int]  # task, sample_id, vote from 1
TO_READ_BACK = ("sample_id", "vote", "task", "label", "annotator")
QUALITY = "quality"
"""Of a synthetic sample, from 1 to 5, if people like; no column where all samples are real."""


@dataclass(frozen=True)
class SheetRow:
    """One vote on one sample, as it stands in the sheet."""

    line: int
    slot: Slot
    label: str
    annotator: str
    quality: str
    cells: Mapping[str, str]  # of all columns


def slots_of(questions: Sequence[Question]) -> dict[Slot, Question]:
    """Return the votes that questions ask for, in order."""
    return {
        (question.task, question.sample_id, vote): question
        for question in questions
        for vote in range(1, question.votes + 1)
    }


def read_sheet(data: bytes, path: str) -> list[SheetRow]:
    """Read the rows of a sheet.

    Raises:
        DataError: with path and line: not a table with all columns, or an id is not a number.
    """
    rows = []
    for line, cells in read_records(data, TO_READ_BACK, path):
        sample, vote = cells["sample_id"], cells["vote"]
        try:
            slot = (cells["task"], int(sample.removeprefix("s")), int(vote))
        except ValueError as error:
            raise DataError(
                f"{path}:{line}: sample_id and vote must stay as they were, such as s17 and 1, "
                f"found {sample!r} and {vote!r}"
            ) from error
        person, quality = _annotator(cells, path, line), cells.get(QUALITY, "")
        rows.append(SheetRow(line, slot, cells["label"], person, quality, cells))
    return rows


def _annotator(cells: Mapping[str, str], path: str, line: int) -> str:
    name = cells["annotator"]
    try:
        return check_annotator(name) if name else name
    except DataError as error:
        raise DataError(f"{path}:{line}: {error}") from error


def check_slots(rows: Sequence[SheetRow], slots: Collection[Slot], path: str) -> None:
    """Make sure that a sheet still has a row for each vote that was asked for, and no other.

    Raises:
        DataError: a changed, repeated or missing row.
    """
    lines: dict[Slot, int] = {}
    for row in rows:
        if row.slot not in slots:
            raise DataError(f"{path}:{row.line}: {named(row.slot)} was not asked in this round")
        first = lines.setdefault(row.slot, row.line)
        if first != row.line:
            raise DataError(f"{path}:{row.line}: {named(row.slot)} is in line {first} already")
    missing = [slot for slot in slots if slot not in lines]
    if missing:
        raise DataError(
            f"{path}:{max(lines.values(), default=1)}: the sheet ends without "
            f"{named(missing[0])}; put back the {len(missing)} of {len(slots)} rows that are "
            "missing, their label can be empty"
        )


def named(slot: Slot) -> str:
    """Name a vote for people."""
    return f"sample s{slot[1]} of task {slot[0]} (vote {slot[2]})"
