"""Annotations of Label Studio as answers, and answers whose annotations were deleted there."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from umc_ray.annotation.changes import answers_by_key
from umc_ray.annotation.ratings import RATING, rated
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.errors import DataError
from umc_ray.labelstudio.form import CONTROL, score_of, seconds_since_1970
from umc_ray.tasks.forms import Form

logger = logging.getLogger(__name__)

Document = dict[str, Any]


@dataclass(frozen=True)
class Reader:
    """Reads the annotations of a project at a server, by the form of its task."""

    url: str
    project_id: int
    form: Form

    @property
    def prefix(self) -> str:
        """How the client keys of answers from the project begin."""
        return f"labelstudio/{self.project_id}/"

    def answers(self, question: Question, item: Document) -> dict[str, Answer]:
        """Return the answers of a Label Studio task by client key, which changes with each edit."""
        answers = {}
        for annotation in by_time(item):
            try:
                answer = self._answer(question, annotation)
            except DataError as error:
                logger.warning(
                    "ignoring an annotation of task %s at %s: %s", item["id"], self.url, error
                )
                continue
            answers[f"{self.prefix}{annotation['id']}/{annotation['updated_at']}"] = answer
        return answers

    def _answer(self, question: Question, annotation: Document) -> Answer:
        person, label = person_of(annotation), None
        if not annotation["was_cancelled"]:
            label = self.form.answer(annotation["result"], CONTROL)
        return replace(
            question.answered(person, label),
            seconds=annotation["lead_time"],
            submitted_at=seconds_since_1970(annotation["updated_at"]),
            reason=None if label is not None else "skipped in Label Studio",
        )

    def scores(self, question: Question, item: Document) -> dict[str, Answer]:
        """Return what people say of the quality of a synthetic sample, as `answers` does."""
        scores = {}
        for annotation in by_time(item):
            score = score_of(annotation["result"])
            is_named = annotation["completed_by"] is not None
            if question.payload.made and score is not None and is_named:
                changed = f"{annotation['id']}/{annotation['updated_at']}"
                key = f"{RATING}/{self.prefix}{changed}"
                scores[key] = rated(question, person_of(annotation), score)
        return scores


def person_of(annotation: Document) -> str:
    """Name who gave an annotation.

    Raises:
        DataError: nobody is named.
    """
    person = annotation["completed_by"]
    if person is None:
        raise DataError("nobody is named who gave it")
    return f"label-studio-{person['id'] if isinstance(person, dict) else person}"


def by_time(item: Document) -> list[Document]:
    """Return the annotations of a Label Studio task, by the time of their last change."""
    return sorted(item["annotations"], key=lambda each: each["updated_at"])


def take_back_deleted(
    store: AnnotationStore,
    reader: Reader,
    changed: Mapping[str, Question],
    there: set[str],
    all_tasks: Callable[[], Iterable[Document]],
) -> int:
    """Take back answers whose annotations are gone; returns how many these are.

    Label Studio can have several tasks of one sample: an annotation is gone only if none of them
    has it, and all are read only if one might be. A person who has another annotation of the
    sample has that answer then; else the question is asked again.

    Args:
        store: with the answers so far, those of the changed tasks too.
        reader: of the project.
        changed: the questions of the tasks that changed, by their names there.
        there: ids of the annotations of these tasks.
        all_tasks: lists all tasks of the project.
    """
    names = {question.key: name for name, question in changed.items()}
    given = [
        (key.removeprefix(reader.prefix).partition("/")[0], answer)
        for key, answer in answers_by_key(store, reader.prefix)
        if answer.key in names
    ]
    if not _missing(given, there):
        return 0
    items = [each for each in all_tasks() if each["data"].get("umc_id") in changed]
    gone = _missing(given, annotation_ids(items))
    for number, answer in gone:
        mine = [each for each in items if each["data"]["umc_id"] == names[answer.key]]
        _take_back(store, reader, changed[names[answer.key]], answer, number, mine)
    return len(gone)


def annotation_ids(items: Iterable[Document]) -> set[str]:
    """Return the ids of the annotations of Label Studio tasks."""
    return {str(each["id"]) for item in items for each in item["annotations"]}


def _missing(given: Sequence[tuple[str, Answer]], there: set[str]) -> list[tuple[str, Answer]]:
    return [(number, answer) for number, answer in given if number not in there]


def _take_back(
    store: AnnotationStore,
    reader: Reader,
    question: Question,
    answer: Answer,
    number: str,
    items: Sequence[Document],
) -> None:
    """Put an answer that its author gave as well in place of a deleted one, or undo it."""
    found = [pair for item in items for pair in reader.answers(question, item).items()]
    others = [(key, each) for key, each in found if each.annotator == answer.annotator]
    if others:
        key, last = max(others, key=lambda pair: pair[1].submitted_at or 0.0)
        store.record([last], [f"{key}/after/{number}"])
    else:
        undo = question.answered(answer.annotator, None)
        store.record_as("undo", [undo], [f"{reader.prefix}{number}/deleted"])
