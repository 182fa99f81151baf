"""Exports of Label Studio: JSON, JSON-MIN, and CSV or TSV.

A row has the data of a task, its id, and a column for each control of the labeling form. In JSON,
`label` is that of the only control. Of several controls, a domain names one, and so it does of the
other exports, which do not tell controls from data.

Source: Label Studio documentation, "Export formats"
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values
from umc_ray.ingest.layouts.json_files import json_rows, records_of
from umc_ray.ingest.layouts.labels import with_labels, without_labels
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_rows
from umc_ray.ingest.sources import BadRow

ABOUT = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""What JSON-MIN and CSV say of an annotation beside its data and its controls."""

SEVERAL = "tasks with several annotations: the last one counts, or the ground truth"
CANCELLED = "skipped annotations: no label"

_FULL = re.compile(r'^\s*\[\s*\{(?=.*"(annotations|completions)"\s*:\s*\[)', re.DOTALL)
_SUFFIXES = (".json", ".csv", ".tsv")


@dataclass(frozen=True)
class LabelStudio(Layout):
    """Tasks with what people answered."""

    name: ClassVar[str] = "label_studio"
    suffixes: ClassVar[tuple[str, ...]] = _SUFFIXES
    has_lists: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize JSON with annotations of data, or what every annotation comes with."""
        found = filter(_is_export, place.first_files(*_SUFFIXES))
        return next((f"annotations in {file.name}" for file in found), None)

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split, or take one file."""
        if place.is_file:
            return cls.of_file(place)
        names = [file.name for file in place.files(*_SUFFIXES) if _is_export(file)]
        if not names:
            raise DataError(f"{place.uri} has no export of Label Studio in JSON, CSV or TSV")
        return cls.of_split(place, asked, by_split(names))

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield a row for each task, or for each annotation of JSON-MIN and CSV."""
        if uri.lower().endswith(".json"):
            yield from json_rows(uri, table, lambda record: _of_json(record, notes))
            return
        for number, values in read_rows(uri, table, groups):
            yield number, values if isinstance(values, BadRow) else _decoded(values)


def _is_export(file: Place) -> bool:
    head = file.head()
    if file.name.endswith(".json"):
        is_full = _FULL.match(head) and '"data"' in head and '"paragraphs"' not in head
        return bool(is_full) or all(f'"{name}"' in head for name in ABOUT[1:3])
    header = head.split("\n", 1)[0].strip().replace('"', "")
    columns = header.split("\t" if file.name.endswith(".tsv") else ",")
    return {*ABOUT} <= {*columns}


def _of_json(record: Mapping[str, Any], notes: Counter[str]) -> Values | BadRow:
    data = record.get("data")
    if data is None:
        return _decoded(record)
    if not isinstance(data, Mapping):
        return BadRow("broken task", f"task {record.get('id')} has no data")
    row = {**data, "id": record.get("id")}
    answers = _answers(records_of(record.get("annotations", record.get("completions"))), notes)
    if len(answers) == 1:
        (labels,) = answers.values()
        return with_labels({**row, **answers}, labels)
    return {**without_labels(row), **answers}


def _answers(annotations: Sequence[Mapping[str, Any]], notes: Counter[str]) -> dict[str, list[str]]:
    """Return what the annotation that counts says, by control."""
    given = [each for each in annotations if not each.get("was_cancelled")]
    if annotations and not given:
        notes[CANCELLED] += 1
    if len(given) > 1:
        notes[SEVERAL] += 1
    truths = [each for each in given if each.get("ground_truth")]
    (one,) = (truths or given)[-1:] or [{}]
    found: dict[str, list[str]] = {}
    for result in records_of(one.get("result")):
        value = result.get("value")
        named = value.get(str(result.get("type"))) if isinstance(value, Mapping) else None
        if named is not None:
            labels = named if isinstance(named, list) else [named]
            found.setdefault(str(result.get("from_name")), []).extend(map(_text, labels))
    return found


def _text(value: object) -> str:
    """Return a choice as text; one of a taxonomy is the path to it."""
    return " / ".join(map(str, value)) if isinstance(value, list) else str(value)


def _decoded(values: Values) -> Values:
    """Return a row whose choices are lists."""
    return {name: _choices(value) for name, value in values.items()}


def _choices(value: object) -> Any:  # noqa: ANN401 - a cell
    """Return several choices, which JSON-MIN and CSV write as {"choices": [...]}, as a list."""
    if isinstance(value, str) and value.startswith('{"choices"'):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    chosen = value.get("choices") if isinstance(value, Mapping) else None
    return [str(each) for each in chosen] if isinstance(chosen, list) else value
