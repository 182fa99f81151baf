"""What one person has answered, and how much is left for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from umc_ray.annotation.assignments import asked_of, reserved_for_others
from umc_ray.annotation.schema import (
    EVENTS,
    OPEN,
    QUESTIONS,
    answered_by,
    events_with_questions,
    standing,
)
from umc_ray.annotation.store import AnnotationStore, Answer, Question, answer_of, question_of
from umc_ray.records import DomainKey


@dataclass(frozen=True)
class GivenAnswer:
    """An answer that stands, and its question; `closed`: its round has been used."""

    question: Question
    answer: Answer
    closed: bool


def given_by(
    store: AnnotationStore, queue: str, annotator: str, most: int
) -> Sequence[GivenAnswer]:
    """Return the last answers of a person, newest first."""
    own = EVENTS.c.annotator == annotator, QUESTIONS.c.campaign == queue, standing()
    query = events_with_questions().where(*own).order_by(EVENTS.c.id.desc()).limit(most)
    with store.readers.connect() as connection:
        rows = connection.execute(query).mappings()
        return [GivenAnswer(question_of(row), answer_of(row), row["closed"]) for row in rows]


def count_given(store: AnnotationStore, queue: str, annotator: str, since: float) -> int:
    """Count the answers of a person from a time on, in seconds since 1970."""
    query = select(func.count()).select_from(EVENTS).join(QUESTIONS)
    own = EVENTS.c.annotator == annotator, QUESTIONS.c.campaign == queue
    with store.readers.connect() as connection:
        counted = connection.scalar(query.where(*own, standing(), EVENTS.c.submitted_at >= since))
    return counted or 0


def count_left(
    store: AnnotationStore, queue: str, annotator: str, domains: Collection[DomainKey] = ()
) -> int:
    """Count the open questions that a person, of some domains or all, has not answered."""
    query = select(func.count()).select_from(QUESTIONS)
    reserved = reserved_for_others(annotator, store.clock())
    own = (
        QUESTIONS.c.campaign == queue,
        OPEN,
        asked_of(annotator, domains),
        QUESTIONS.c.given + reserved < QUESTIONS.c.votes,
        ~answered_by(annotator),
    )
    with store.readers.connect() as connection:
        left = connection.scalar(query.where(*own))
    return left or 0
