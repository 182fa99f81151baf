"""Export and import of labels: JSON lines, CSV, Label Studio, Prodigy."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pydantic

from umc_ray.annotation.spreadsheet import read_records
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import DataError
from umc_ray.labelstudio.form import CONTROL, labeled, sample_data
from umc_ray.methods.json_objects import RepeatedKey, unique_keys
from umc_ray.methods.text_pair import plain, readable
from umc_ray.tasks.forms import Form
from umc_ray.web.messages import Vote

Format = Literal["jsonl", "csv", "label_studio", "prodigy"]
Content = dict[str, Any]
FormOf = Callable[[str], Form]
"""From a task to its form."""
Rows = Sequence[tuple[int, Any]]
"""The rows of a file, numbered from 1, as its format has them."""

MISTAKES = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What a row that is not as its format wants it raises."""


@dataclass(frozen=True)
class LabeledQuestion:
    """A question with its answers; either `text` or `image`, a path, is None.

    `label` is that of a reviewer's decision, else what most people answered; if it is `tied`,
    chance decided. `extra` are answers that came when there were enough, and do not count.
    """

    question: Question
    text: str | None
    image: str | None
    answers: tuple[Answer, ...]
    form: Form
    label: str | None
    decision: Answer | None
    tied: bool
    extra: tuple[Answer, ...]
    flags: tuple[Answer, ...]
    notes: tuple[Answer, ...]


def write_labels(kind: Format, rows: Sequence[LabeledQuestion]) -> bytes:
    """Write questions with their answers in a format."""
    return _FORMATS[kind].write(rows)


@dataclass(frozen=True)
class Votes:
    """The answers in a file, each with the number of its row, and why other rows have none."""

    votes: list[tuple[int, Vote]]
    problems: list[tuple[int, str]]


def read_votes(kind: Format, data: bytes, form_of: FormOf) -> Votes:
    """Read answers from a file written by `write_labels`; rows count from 1.

    Raises:
        DataError: the file does not have the format.
    """
    converter, found = _FORMATS[kind], Votes([], [])
    try:
        rows = converter.rows(data)
    except (*MISTAKES, RecursionError) as error:
        raise DataError(f"the request body is not in {kind} format: {_reason(error)}") from error
    for number, row in rows:
        try:
            found.votes.extend((number, vote) for vote in converter.votes(row, form_of))
        except (*MISTAKES, RecursionError) as error:
            found.problems.append((number, _reason(error)))
    if found.problems and not found.votes:
        number, reason = found.problems[0]
        raise DataError(f"the request body has no row in {kind} format; row {number}: {reason}")
    return found


def _reason(error: Exception) -> str:
    """Say in a line what is wrong with a row."""
    if isinstance(error, pydantic.ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return f"{error!s:.200}" if isinstance(error, DataError | RepeatedKey) else f"{error!r:.200}"


def media_type(kind: Format) -> str:
    """Return the media type of a format."""
    return _FORMATS[kind].media_type


def _write_jsonl(rows: Sequence[LabeledQuestion]) -> bytes:
    return _lines(
        {
            **_identity(row),
            "text": None if row.text is None else plain(row.text),
            "image": row.image,
            "label": row.label,
            "reviewed": row.decision is not None,
            "tied": row.tied,
            "votes": [_vote(answer) for answer in row.answers],
            "extra": [_vote(answer) for answer in row.extra],
            **_remarks(row),
        }
        for row in rows
    )


def _votes_of_jsonl(line: Any, form_of: FormOf) -> list[Vote]:  # noqa: ANN401 - any row
    row = json.loads(line, object_pairs_hook=unique_keys)
    return [
        Vote(task=row["task"], sample_id=row["sample_id"], **_from_vote(vote))
        for vote in row["votes"]
    ]


CSV = (
    *("task", "domain", "sample_id", "sample", "label", "annotator", "reason", "seconds"),
    *("synthetic", "submitted_at", "reviewer", "flags", "notes"),
)


def _write_csv(rows: Sequence[LabeledQuestion]) -> bytes:
    """Write texts as they came in: this is data, and not a sheet for people to open."""
    cells = [
        [
            row.question.task,
            row.question.domain,
            f"s{row.question.sample_id}",
            readable(row.text or row.image or ""),
            answer.label or "",
            answer.annotator,
            answer.reason or "",
            "" if answer.seconds is None else str(answer.seconds),
            _maker(row),
            _time(answer),
            row.decision.annotator if row.decision else "",
            *("; ".join(each.reason or "" for each in said) for said in (row.flags, row.notes)),
        ]
        for row in rows
        for answer in row.answers
    ]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([CSV, *cells])
    return table.getvalue().encode()


def _csv_rows(data: bytes) -> Rows:
    columns = ("task", "sample_id", "label", "annotator", "reason", "seconds")
    records = read_records(data, columns, "body", guarded=False)
    return [(number, cells) for number, (_, cells) in enumerate(records, start=1)]


def _votes_of_csv(cells: Any, form_of: FormOf) -> list[Vote]:  # noqa: ANN401 - any row
    vote = Vote(
        task=cells["task"],
        sample_id=cells["sample_id"].removeprefix("s"),
        annotator=cells["annotator"],
        label=cells["label"] or None,
        reason=cells["reason"] or None,
        seconds=float(cells["seconds"]) if cells["seconds"] else None,
    )
    return [vote]


def _write_label_studio(rows: Sequence[LabeledQuestion]) -> bytes:
    tasks = [
        {
            "data": sample_data(row.text) if row.image is None else {"image": row.image},
            "meta": {**_identity(row), **_remarks(row)},
            "annotations": [
                {
                    "result": _ls_result(row, answer.label),
                    "was_cancelled": answer.label is None,
                    "lead_time": answer.seconds,
                    "created_at": _time(answer),
                    "reason": answer.reason,
                    "completed_by": {"email": answer.annotator},
                }
                for answer in row.answers
            ],
            "predictions": _ls_predictions(row),
        }
        for row in rows
    ]
    return json.dumps(tasks, ensure_ascii=False).encode()


def _ls_result(row: LabeledQuestion, label: str | None) -> list[Content]:
    to_name = labeled("text" if row.image is None else "image", row.form)
    return [] if label is None else row.form.result(label, CONTROL, to_name)


def _ls_predictions(row: LabeledQuestion) -> list[Content]:
    predicted = row.question.payload.predicted
    score = row.question.payload.confidence
    return [] if predicted is None else [{"result": _ls_result(row, predicted), "score": score}]


def _label_studio_rows(data: bytes) -> Rows:
    """Return each annotation with its task; the rows are the tasks."""
    tasks = json.loads(data, object_pairs_hook=unique_keys)
    if not isinstance(tasks, list):
        raise DataError("it must be a list of tasks")
    rows: list[tuple[int, Any]] = []
    for number, task in enumerate(tasks, start=1):
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if isinstance(annotations, list):
            rows += [(number, (task, annotation)) for annotation in annotations]
        else:
            rows.append((number, (task, None)))
    return rows


def _votes_of_label_studio(row: Any, form_of: FormOf) -> list[Vote]:  # noqa: ANN401 - any row
    task, annotation = row
    meta, label, person = task["meta"], None, annotation["completed_by"]
    if not isinstance(person, dict):
        raise DataError(f"completed_by must be {{email: ...}}, found {person!r:.100}")
    if not annotation.get("was_cancelled", False):
        label = _from_ls_result(form_of(meta["task"]), annotation["result"])
    vote = Vote(
        task=meta["task"],
        sample_id=meta["sample_id"],
        annotator=person["email"],
        label=label,
        seconds=annotation.get("lead_time"),
    )
    return [vote]


def _from_ls_result(form: Form, result: Sequence[Content]) -> str:
    name = result[0]["from_name"] if result else CONTROL
    answer = form.answer(result, name)
    if answer is None:
        raise DataError("the result has no choice")
    return answer


def _write_prodigy(rows: Sequence[LabeledQuestion]) -> bytes:
    return _lines(
        {
            **({"image": row.image} if row.text is None else {"text": readable(row.text)}),
            "options": [{"id": label, "text": label} for label in row.form.labels],
            "accept": [] if answer.label is None else _accepted(row.form, answer.label),
            "answer": "ignore" if answer.label is None else "accept",
            "_annotator_id": answer.annotator,
            "meta": {**_identity(row), **_remarks(row), "reason": answer.reason},
        }
        for row in rows
        for answer in row.answers
    )


def _votes_of_prodigy(line: Any, form_of: FormOf) -> list[Vote]:  # noqa: ANN401 - any row
    row = json.loads(line, object_pairs_hook=unique_keys)
    vote = Vote(
        task=row["meta"]["task"],
        sample_id=row["meta"]["sample_id"],
        annotator=row["_annotator_id"],
        label=row["accept"] if row["answer"] == "accept" else None,
    )
    if vote.label == [] and not form_of(vote.task).multiple:
        raise DataError("accept is empty: nothing was chosen")
    return [vote]


def _accepted(form: Form, label: str) -> list[str]:
    return form.chosen(label) if form.labels else [label]  # what is no choice stands for itself


def _identity(row: LabeledQuestion) -> Content:
    """Return what identifies a sample; its id as text, as other tools read numbers as floats."""
    question = row.question
    identity: Content = {
        "task": question.task,
        "domain": question.domain,
        "sample_id": str(question.sample_id),
        "round": question.round,
    }
    return identity | ({"synthetic": _maker(row)} if _maker(row) else {})


def _maker(row: LabeledQuestion) -> str:
    """Return what made a synthetic sample; nothing for a real one."""
    return "" if row.question.payload.made is None else row.question.payload.made.generator


def _remarks(row: LabeledQuestion) -> Content:
    """Return who decided on a question, and what people remarked about it."""
    said = {"flags": row.flags, "notes": row.notes}
    texts = {name: [each.reason for each in remarks] for name, remarks in said.items()}
    return {"reviewer": row.decision and row.decision.annotator, **texts}


def _time(answer: Answer) -> str:
    """Return when an answer was given, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(answer.submitted_at or 0, UTC).isoformat()


def _vote(answer: Answer) -> Content:
    names = ("annotator", "label", "reason", "seconds", "seen", "bulk", "late", "submitted_at")
    return {name: getattr(answer, name) for name in names}


def _from_vote(vote: Mapping[str, Any]) -> Content:
    required = {"annotator": vote["annotator"], "label": vote["label"]}
    return required | {name: vote[name] for name in ("reason", "seconds") if name in vote}


def _lines(rows: Iterable[Content]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _numbered_lines(data: bytes) -> Rows:
    lines = enumerate(data.decode().split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


@dataclass(frozen=True)
class _Converter:
    write: Callable[[Sequence[LabeledQuestion]], bytes]
    rows: Callable[[bytes], Rows]
    votes: Callable[[Any, FormOf], list[Vote]]
    media_type: str


_FORMATS: dict[Format, _Converter] = {
    "jsonl": _Converter(_write_jsonl, _numbered_lines, _votes_of_jsonl, "application/x-ndjson"),
    "csv": _Converter(_write_csv, _csv_rows, _votes_of_csv, "text/csv"),
    "label_studio": _Converter(
        _write_label_studio, _label_studio_rows, _votes_of_label_studio, "application/json"
    ),
    "prodigy": _Converter(
        _write_prodigy, _numbered_lines, _votes_of_prodigy, "application/x-ndjson"
    ),
}
assert set(_FORMATS) == set(get_args(Format))
