"""Export and import of labels: JSON lines, CSV, Label Studio, Prodigy."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from umc_ray.annotation.spreadsheet import read_records
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import DataError
from umc_ray.labelstudio.form import CONTROL
from umc_ray.tasks.forms import Form
from umc_ray.web.messages import Vote

Format = Literal["jsonl", "csv", "label_studio", "prodigy"]
Content = dict[str, Any]
FormOf = Callable[[str], Form]
"""From a task to its form."""


@dataclass(frozen=True)
class LabeledQuestion:
    """A question with its answers; either `text` or `image`, a path, is None.

    `label` is the reviewer's if it is `reviewed`, else what most people answered.
    """

    question: Question
    text: str | None
    image: str | None
    answers: tuple[Answer, ...]
    form: Form
    label: str | None
    reviewed: bool


def write_labels(kind: Format, rows: Sequence[LabeledQuestion]) -> bytes:
    """Write questions with their answers in a format."""
    return _FORMATS[kind].write(rows)


def read_votes(kind: Format, data: bytes, form_of: FormOf) -> list[Vote]:
    """Read answers from a file written by `write_labels`.

    Raises:
        DataError: the file does not have the format.
    """
    try:
        return _FORMATS[kind].read(data, form_of)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the request body is not in {kind} format: {error!r:.200}") from error


def media_type(kind: Format) -> str:
    """Return the media type of a format."""
    return _FORMATS[kind].media_type


def _write_jsonl(rows: Sequence[LabeledQuestion]) -> bytes:
    return _lines(
        {
            **_identity(row),
            "text": row.text,
            "image": row.image,
            "label": row.label,
            "reviewed": row.reviewed,
            "votes": [_vote(answer) for answer in row.answers],
        }
        for row in rows
    )


def _read_jsonl(data: bytes, form_of: FormOf) -> list[Vote]:
    return [
        Vote(task=row["task"], sample_id=row["sample_id"], **_from_vote(vote))
        for row in _read_lines(data)
        for vote in row["votes"]
    ]


CSV = ("task", "domain", "sample_id", "sample", "label", "annotator", "reason", "seconds")


def _write_csv(rows: Sequence[LabeledQuestion]) -> bytes:
    """Write texts as they came in: this is data, and not a sheet for people to open."""
    cells = [
        [
            row.question.task,
            row.question.domain,
            f"s{row.question.sample_id}",
            row.text or row.image or "",
            answer.label or "",
            answer.annotator,
            answer.reason or "",
            "" if answer.seconds is None else str(answer.seconds),
        ]
        for row in rows
        for answer in row.answers
    ]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([CSV, *cells])
    return table.getvalue().encode()


def _read_csv(data: bytes, form_of: FormOf) -> list[Vote]:
    columns = ("task", "sample_id", "label", "annotator", "reason", "seconds")
    return [
        Vote(
            task=cells["task"],
            sample_id=cells["sample_id"].removeprefix("s"),
            annotator=cells["annotator"],
            label=cells["label"] or None,
            reason=cells["reason"] or None,
            seconds=float(cells["seconds"]) if cells["seconds"] else None,
        )
        for _, cells in read_records(data, columns, "body", guarded=False)
    ]


def _write_label_studio(rows: Sequence[LabeledQuestion]) -> bytes:
    tasks = [
        {
            "data": {"text": row.text} if row.image is None else {"image": row.image},
            "meta": _identity(row),
            "annotations": [
                {
                    "result": _ls_result(row, answer.label),
                    "was_cancelled": answer.label is None,
                    "lead_time": answer.seconds,
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
    to_name = "text" if row.image is None else "image"
    return [] if label is None else row.form.result(label, CONTROL, to_name)


def _ls_predictions(row: LabeledQuestion) -> list[Content]:
    predicted = row.question.payload.predicted
    score = row.question.payload.confidence
    return [] if predicted is None else [{"result": _ls_result(row, predicted), "score": score}]


def _read_label_studio(data: bytes, form_of: FormOf) -> list[Vote]:
    votes, tasks = [], json.loads(data)
    if not isinstance(tasks, list):
        raise DataError("the request body is not in label_studio format: it must be a task list")
    for task in tasks:
        meta = task["meta"]
        for annotation in task["annotations"]:
            label = None
            if not annotation.get("was_cancelled", False):
                label = _from_ls_result(form_of(meta["task"]), annotation["result"])
            vote = Vote(
                task=meta["task"],
                sample_id=meta["sample_id"],
                annotator=annotation["completed_by"]["email"],
                label=label,
                seconds=annotation.get("lead_time"),
            )
            votes.append(vote)
    return votes


def _from_ls_result(form: Form, result: Sequence[Content]) -> str:
    name = result[0]["from_name"] if result else CONTROL
    answer = form.answer(result, name)
    if answer is None:
        raise DataError("the request body is not in label_studio format: a result has no choice")
    return answer


def _write_prodigy(rows: Sequence[LabeledQuestion]) -> bytes:
    return _lines(
        {
            **({"text": row.text} if row.image is None else {"image": row.image}),
            "options": [{"id": label, "text": label} for label in row.form.labels],
            "accept": [] if answer.label is None else row.form.chosen(answer.label),
            "answer": "ignore" if answer.label is None else "accept",
            "_annotator_id": answer.annotator,
            "meta": _identity(row),
        }
        for row in rows
        for answer in row.answers
    )


def _read_prodigy(data: bytes, form_of: FormOf) -> list[Vote]:
    return [
        Vote(
            task=row["meta"]["task"],
            sample_id=row["meta"]["sample_id"],
            annotator=row["_annotator_id"],
            label=row["accept"] if row["answer"] == "accept" else None,
        )
        for row in _read_lines(data)
    ]


def _identity(row: LabeledQuestion) -> Content:
    """Return what identifies a sample; its id as text, as other tools read numbers as floats."""
    question = row.question
    return {
        "task": question.task,
        "domain": question.domain,
        "sample_id": str(question.sample_id),
        "round": question.round,
    }


def _vote(answer: Answer) -> Content:
    names = ("annotator", "label", "reason", "seconds", "seen", "bulk", "late", "submitted_at")
    return {name: getattr(answer, name) for name in names}


def _from_vote(vote: Mapping[str, Any]) -> Content:
    required = {"annotator": vote["annotator"], "label": vote["label"]}
    return required | {name: vote[name] for name in ("reason", "seconds") if name in vote}


def _lines(rows: Iterable[Content]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _read_lines(data: bytes) -> list[Content]:
    return [json.loads(line) for line in data.decode().split("\n") if line.strip()]


@dataclass(frozen=True)
class _Converter:
    write: Callable[[Sequence[LabeledQuestion]], bytes]
    read: Callable[[bytes, FormOf], list[Vote]]
    media_type: str


_FORMATS: dict[Format, _Converter] = {
    "jsonl": _Converter(_write_jsonl, _read_jsonl, "application/x-ndjson"),
    "csv": _Converter(_write_csv, _read_csv, "text/csv"),
    "label_studio": _Converter(_write_label_studio, _read_label_studio, "application/json"),
    "prodigy": _Converter(_write_prodigy, _read_prodigy, "application/x-ndjson"),
}
assert set(_FORMATS) == set(get_args(Format))
