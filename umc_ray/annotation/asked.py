"""What a store says of the questions of a campaign, without their payloads."""

from dataclasses import dataclass

from sqlalchemy import select

from umc_ray.annotation.schema import QUESTIONS
from umc_ray.annotation.store import AnnotationStore

TaskSample = tuple[str, int]
"""A task and the id of one of its samples."""


@dataclass(frozen=True)
class Asked:
    """A question: its round, whether that is closed, and how many answers count."""

    round: int
    closed: bool
    given: int


def asked(store: AnnotationStore, campaign: str) -> dict[TaskSample, Asked]:
    """Return all questions of a campaign but gold ones, by task and sample."""
    columns = QUESTIONS.c
    query = select(columns.task, columns.sample_id, columns.round, columns.closed, columns.given)
    mine = query.where(columns.campaign == campaign, columns.gold.is_(None))
    with store.readers.connect() as connection:
        rows = connection.execute(mine).all()
    return {(row.task, row.sample_id): Asked(row.round, row.closed, row.given) for row in rows}
