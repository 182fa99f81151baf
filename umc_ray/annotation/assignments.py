"""Who is asked what: questions that are assigned to a person, and the domains of a person.

An assignment reserves one vote of a question for one person, who gets it before all others. A
person with domains of their own is asked about these only, and about what is assigned to them.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from umc_ray.annotation.events import SampleKey, chunks, find_questions
from umc_ray.annotation.schema import (
    ASSIGNMENTS,
    EVENTS,
    LEASES,
    OPEN,
    QUESTIONS,
    SKILLS,
    answered_by,
    effective,
)
from umc_ray.annotation.store import AnnotationStore
from umc_ray.errors import StoreError
from umc_ray.records import DomainKey


def assign(store: AnnotationStore, keys: Sequence[SampleKey], annotator: str, by: str) -> int:
    """Reserve questions for a person in place of others; returns for how many that was possible.

    A question that has all of its votes gets one more. What the person has answered, or what is
    closed, stays as it is.

    Raises:
        StoreError: it was possible for none.
    """
    with store.writing() as connection:
        ids = [row["id"] for row in find_questions(connection, keys, lock=True).values()]
        able = QUESTIONS.c.closed.is_(False), QUESTIONS.c.gold.is_(None), ~answered_by(annotator)
        free = [each for chunk in chunks(ids) for each in _ids(connection, chunk, *able)]
        if not free:
            raise StoreError(
                f"nothing can be assigned to {annotator}: of {len(keys)} questions, all are "
                "closed or answered by this person already"
            )
        _withdraw(connection, free)
        row = {"annotator": annotator, "assigned_by": by, "assigned_at": store.clock()}
        connection.execute(insert(ASSIGNMENTS), [{"question_id": each, **row} for each in free])
        for chunk in chunks(free):
            full = QUESTIONS.c.id.in_(chunk), QUESTIONS.c.given >= QUESTIONS.c.votes
            more = update(QUESTIONS).where(*full)
            connection.execute(more.values(votes=QUESTIONS.c.given + 1))
    return len(free)


def unassign(store: AnnotationStore, keys: Sequence[SampleKey]) -> None:
    """Let everybody answer questions that were assigned."""
    with store.writing() as connection:
        _withdraw(connection, [row["id"] for row in find_questions(connection, keys).values()])


def unassign_all(store: AnnotationStore, annotator: str) -> None:
    """Let everybody answer what was assigned to a person who left."""
    with store.writing() as connection:
        connection.execute(delete(ASSIGNMENTS).where(ASSIGNMENTS.c.annotator == annotator))


def open_assignments(store: AnnotationStore, queue: str) -> dict[SampleKey, str]:
    """Return to whom the questions are assigned that these people have not answered yet."""
    columns = QUESTIONS.c.campaign, QUESTIONS.c.task, QUESTIONS.c.sample_id, ASSIGNMENTS.c.annotator
    query = select(*columns).join(ASSIGNMENTS, ASSIGNMENTS.c.question_id == QUESTIONS.c.id)
    waiting = QUESTIONS.c.campaign == queue, OPEN, ~_answered_by_assigned()
    with store.readers.connect() as connection:
        rows = connection.execute(query.where(*waiting)).all()
    return {(campaign, task, sample_id): name for campaign, task, sample_id, name in rows}


def skills(store: AnnotationStore, campaign: str) -> dict[str, tuple[str, ...]]:
    """Return the domains of people, by name, as set on the page; none: they are asked about all."""
    query = select(SKILLS.c.annotator, SKILLS.c.domains).where(SKILLS.c.campaign == campaign)
    with store.readers.connect() as connection:
        return {name: tuple(domains) for name, domains in connection.execute(query)}


def set_skills(
    store: AnnotationStore, campaign: str, annotator: str, domains: Sequence[str]
) -> None:
    """Set the domains of a person; none: all."""
    own = SKILLS.c.campaign == campaign, SKILLS.c.annotator == annotator
    row = {"campaign": campaign, "annotator": annotator, "domains": list(domains)}
    with store.writing() as connection:
        connection.execute(delete(SKILLS).where(*own))
        connection.execute(insert(SKILLS), row)


def assigned_to(annotator: str) -> ColumnElement[bool]:
    """Return the condition for questions that are assigned to a person."""
    mine = ASSIGNMENTS.c.question_id == QUESTIONS.c.id, ASSIGNMENTS.c.annotator == annotator
    return exists().where(*mine)


def asked_of(annotator: str, domains: Collection[DomainKey]) -> ColumnElement[bool]:
    """Return the condition for questions in a person's domains, or assigned to the person."""
    if not domains:
        return true()
    own = [
        and_(QUESTIONS.c.task == each.task, QUESTIONS.c.domain == each.domain) for each in domains
    ]
    return or_(*own, assigned_to(annotator))


def reserved_for_others(annotator: str, now: float) -> ColumnElement[int]:
    """Return how many votes of a question are reserved for others who have yet to open it."""
    others = ASSIGNMENTS.c.question_id == QUESTIONS.c.id, ASSIGNMENTS.c.annotator != annotator
    holding = exists().where(
        LEASES.c.question_id == ASSIGNMENTS.c.question_id,
        LEASES.c.annotator == ASSIGNMENTS.c.annotator,
        LEASES.c.expires_at > now,
    )
    reserved = select(func.count()).where(*others, ~holding, ~_answered_by_assigned())
    return reserved.scalar_subquery()


def _answered_by_assigned() -> ColumnElement[bool]:
    """Return the condition for assignments whose person has answered."""
    own = (
        EVENTS.c.question_id == ASSIGNMENTS.c.question_id,
        EVENTS.c.annotator == ASSIGNMENTS.c.annotator,
    )
    return exists().where(*own, effective())


def _ids(connection: Connection, ids: Sequence[int], *conditions: ColumnElement[bool]) -> list[int]:
    query = select(QUESTIONS.c.id).where(QUESTIONS.c.id.in_(ids), *conditions)
    return list(connection.scalars(query))


def _withdraw(connection: Connection, ids: Sequence[int]) -> None:
    for chunk in chunks(ids):
        connection.execute(delete(ASSIGNMENTS).where(ASSIGNMENTS.c.question_id.in_(chunk)))
