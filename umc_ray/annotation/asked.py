"""What a store says of the questions of a campaign, without their payloads."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update

from umc_ray.annotation.events import SampleKey, chunks, find_questions
from umc_ray.annotation.schema import EVENTS, QUESTIONS, effective, of_kind
from umc_ray.annotation.store import AnnotationStore

TaskSample = tuple[str, int]
"""A task and the id of one of its samples."""


@dataclass(frozen=True)
class Asked:
    """A question: its round, whether that is closed, and whether its answers are there.

    `labeled`: people gave it labels before its round was closed, and nothing has changed since.
    """

    round: int
    closed: bool
    whole: bool
    labeled: bool


def asked(store: AnnotationStore, campaign: str) -> dict[TaskSample, Asked]:
    """Return all questions of a campaign but gold ones, by task and sample.

    Answers were lost where fewer are there than were counted when they came; where nothing at all
    is there, not even what was taken back, the count may be lost as well.
    """
    columns = QUESTIONS.c
    query = (
        select(
            columns.task,
            columns.sample_id,
            columns.round,
            columns.closed,
            columns.given,
            columns.votes,
            func.count(EVENTS.c.id).label("events"),
            func.count(EVENTS.c.id).filter(effective()).label("answers"),
            func.count(EVENTS.c.id).filter(effective(), EVENTS.c.label.is_not(None)).label("said"),
            func.count(EVENTS.c.id).filter(or_(EVENTS.c.late, of_kind("review"))).label("changes"),
        )
        .outerjoin(EVENTS, EVENTS.c.question_id == columns.id)
        .where(columns.campaign == campaign, columns.gold.is_(None))
        .group_by(columns.id)
    )
    with store.readers.connect() as connection:
        rows = connection.execute(query).all()
    return {
        (row.task, row.sample_id): Asked(
            row.round,
            row.closed,
            labeled=bool(row.closed and row.votes and row.said and not row.changes),
            whole=row.answers >= row.given and (row.events > 0 or not row.closed or not row.votes),
        )
        for row in rows
    }


def open_again(store: AnnotationStore, keys: Sequence[SampleKey]) -> None:
    """Open questions whose answers were lost: what is answered now does not come late."""
    with store.writing() as connection:
        rows = find_questions(connection, keys, lock=True).values()
        for ids in chunks([row["id"] for row in rows]):
            connection.execute(
                update(QUESTIONS).where(QUESTIONS.c.id.in_(ids)).values(closed=False)
            )
