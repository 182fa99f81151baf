"""Exports of Argilla 2: JSON records, or the columns of a Hugging Face dataset.

A row has the record's fields and metadata, and a column for each question: what most people
answered. `label` is that of the only question. Suggestions of models are no answers.

Source: Argilla 2 documentation, "Importing and exporting datasets and records"
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.hub_files import hub_splits
from umc_ray.ingest.layouts.json_files import json_rows, records_of
from umc_ray.ingest.layouts.labels import with_labels, without_labels
from umc_ray.ingest.layouts.layout import Asked, Layout, choose
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_rows
from umc_ray.ingest.sources import TABLES, BadRow

TIES = "records whose answers are tied: no label"
RESPONSES, STATUS = ".responses", ".responses.status"

_RECORDS = re.compile(r'^\s*\[\s*\{(?=.*"fields"\s*:\s*\{)(?=.*"responses"\s*:\s*\{)', re.DOTALL)


@dataclass(frozen=True)
class Argilla(Layout):
    """Records with what people answered."""

    name: ClassVar[str] = "argilla"
    suffixes: ClassVar[tuple[str, ...]] = (*TABLES, ".json")
    has_lists: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize JSON records with fields and responses, or columns of responses."""
        for file in place.first_files(".json"):
            if _RECORDS.match(file.head()):
                return f"fields and responses in {file.name}"
        for file in _tables(place):
            if _questions(_names(file)):
                return f"columns of responses in {file.name}"
        return None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split, or take one file."""
        if place.is_file:
            return cls.of_file(place)
        splits = hub_splits(place) or {"": _records(place)}
        split, names = choose(place, asked, splits)
        if not names:
            raise DataError(f"{place.uri} has no export of Argilla in JSON or Parquet")
        paths = tuple(place.below(name).uri for name in names)
        return cls(place.uri, paths, f"argilla: {split or 'all files'}")

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield a row for each record."""
        if uri.lower().endswith(".json"):
            yield from json_rows(uri, table, lambda record: _of_json(record, notes))
            return
        names = _names(Place(uri))
        questions = _questions(names)
        check_columns(uri, table, [*names, *questions, "label", "labels"])
        columns = [name for name in names if name.startswith(tuple(questions))]
        for number, values in read_rows(uri, TableFormat((), (*names, *columns)), groups):
            row = values if isinstance(values, BadRow) else _of_columns(values, questions, notes)
            yield number, row


def _records(place: Place) -> tuple[str, ...]:
    return tuple(file.name for file in place.files(".json") if _RECORDS.match(file.head()))


def _tables(place: Place) -> list[Place]:
    if place.is_file:
        return list(place.files(".parquet", ".arrow"))
    return [place.below(names[0]) for names in hub_splits(place).values()]


def _names(file: Place) -> list[str]:
    schema = file.schema()
    return [] if schema is None else list(schema.names)


def _questions(names: Sequence[str]) -> list[str]:
    """Return the questions of a flat export: those with columns of responses and their users."""
    found = [name.removesuffix(RESPONSES) for name in names if name.endswith(RESPONSES)]
    return [question for question in found if f"{question}{RESPONSES}.users" in names]


def _of_json(record: Mapping[str, Any], notes: Counter[str]) -> Values | BadRow:
    fields = record.get("fields")
    if not isinstance(fields, Mapping):
        return BadRow("broken record", f"record {record.get('id')} has no fields")
    metadata, responses = record.get("metadata"), record.get("responses")
    row = {**(metadata if isinstance(metadata, Mapping) else {}), **fields, "id": record.get("id")}
    answers = {
        question: _agreed([each.get("value") for each in records_of(given) if _counts(each)], notes)
        for question, given in (responses if isinstance(responses, Mapping) else {}).items()
    }
    return _with_answers(row, answers)


def _counts(response: Mapping[str, Any]) -> bool:
    return response.get("status") in (None, "submitted")


def _of_columns(values: Values, questions: Sequence[str], notes: Counter[str]) -> Values:
    answers = {}
    for question in questions:
        given = values.get(f"{question}{RESPONSES}") or []
        status = values.get(f"{question}{STATUS}") or [None] * len(given)
        pairs = zip(given, status, strict=False)
        answers[question] = _agreed([v for v, s in pairs if s in (None, "submitted")], notes)
    return _with_answers(values, answers)


def _with_answers(
    row: Mapping[str, object], answers: Mapping[str, list[str] | None]
) -> dict[str, object]:
    known = {question: labels for question, labels in answers.items() if labels is not None}
    if len(answers) == 1 and known:
        (labels,) = known.values()
        return with_labels({**row, **answers}, labels)
    return {**without_labels(row), **answers}


def _agreed(values: Sequence[object], notes: Counter[str]) -> list[str] | None:
    """Return what most answers say, as a list of labels; None: nothing, or a tie."""
    answers = Counter(
        tuple(map(str, value)) if isinstance(value, list) else (str(value),)
        for value in values
        if value is not None
    )
    ranked = answers.most_common(2)
    if not ranked:
        return None
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        notes[TIES] += 1
        return None
    return list(ranked[0][0])
