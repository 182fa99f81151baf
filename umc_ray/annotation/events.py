"""Append events to the store: deduplicate by client key, settle leases, update counts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, tuple_, update

from umc_ray.annotation.schema import EVENTS, LEASES, QUESTIONS, effective
from umc_ray.errors import StoreError

SQL_LIST = 500  # values per IN (...), which databases limit
Item = TypeVar("Item")
SampleKey = tuple[str, str, int]  # campaign, task, sample_id
IDENTITY = ("question_id", "annotator", "label")  # these and the kind match if a client key repeats


def find_questions(
    connection: Connection, keys: Sequence[SampleKey], lock: bool = False
) -> dict[SampleKey, RowMapping]:
    """Return the questions about samples; `lock` them until the transaction ends."""
    ids_by_task: dict[tuple[str, str], set[int]] = {}
    for campaign, task, sample_id in keys:
        ids_by_task.setdefault((campaign, task), set()).add(sample_id)
    questions = {}
    columns = QUESTIONS.c
    for (campaign, task), ids in ids_by_task.items():
        for chunk in chunks(sorted(ids)):
            query = (
                select(columns.id, columns.round, columns.sample_id, columns.closed)
                .where(columns.campaign == campaign, columns.task == task)
                .where(columns.sample_id.in_(chunk))
                .order_by(columns.id)  # one lock order for all transactions avoids deadlocks
            )
            rows = connection.execute(query.with_for_update() if lock else query).mappings()
            questions.update({(campaign, task, row["sample_id"]): row for row in rows})
    return questions


def append_events(
    connection: Connection, events: Sequence[Mapping[str, Any]], asked_only: bool = False
) -> int:
    """Append events, each client key once, and update answer counts; return how many are new.

    The caller must have locked the questions. An answer ends its lease, and is late if the lease
    had expired when it was submitted.

    Args:
        connection: in a write transaction.
        events: rows of the table.
        asked_only: only people who were given a question may answer it, and what exceeds its votes
            is kept as extra.

    Raises:
        StoreError: a client key was used for another event, or somebody was not asked.
    """
    rows = _new_events(connection, events)
    if asked_only:
        _check_asked(connection, rows)
        _mark_extra(connection, rows)
    for chunk in chunks(rows):
        _settle_leases(connection, chunk)
        connection.execute(insert(EVENTS), chunk)
        _update_given(connection, {row["question_id"] for row in chunk})
    return len(rows)


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Split a list into chunks that fit into one SQL statement."""
    return (items[start : start + SQL_LIST] for start in range(0, len(items), SQL_LIST))


def _new_events(
    connection: Connection, events: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the events whose client keys are not stored yet.

    Raises:
        StoreError: a client key was used for another event.
    """
    stored = _by_client_key(connection, [event["client_key"] for event in events])
    new: dict[str, dict[str, Any]] = {}
    for event in events:
        client_key = event["client_key"]
        first = stored.get(client_key) or new.get(client_key)
        if first is None:
            new[client_key] = dict(event)
        elif _kind(first) != _kind(event) or any(first[each] != event[each] for each in IDENTITY):
            raise StoreError(
                f"client key {client_key!r} of {event['annotator']} was already used for another "
                f"event: {first['kind']} {first['label']!r} of {first['annotator']}"
            )
    return list(new.values())


def _by_client_key(connection: Connection, client_keys: Sequence[str]) -> dict[str, RowMapping]:
    events: dict[str, RowMapping] = {}
    for chunk in chunks(client_keys):
        query = select(EVENTS).where(EVENTS.c.client_key.in_(chunk))
        events.update({row["client_key"]: row for row in connection.execute(query).mappings()})
    return events


def _kind(event: Mapping[str, Any] | RowMapping) -> object:
    """Return the kind of an event as it was sent: the store decides which answers are extra."""
    return "answer" if event["kind"] == "extra" else event["kind"]


def _check_asked(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Check that people answer only what they were given, now or earlier.

    Raises:
        StoreError: somebody was not given a question.
    """
    pairs = [(row["question_id"], row["annotator"]) for row in rows]
    asked: set[tuple[int, str]] = set()
    for table, conditions in ((LEASES, []), (EVENTS, [EVENTS.c.kind.in_(("answer", "extra"))])):
        holder = table.c.question_id, table.c.annotator
        for chunk in chunks(pairs):
            given = select(*holder).where(tuple_(*holder).in_(chunk), *conditions)
            asked |= {(each.question_id, each.annotator) for each in connection.execute(given)}
    for question_id, annotator in pairs:
        if (question_id, annotator) not in asked:
            columns = QUESTIONS.c.sample_id, QUESTIONS.c.task
            found = connection.execute(select(*columns).where(QUESTIONS.c.id == question_id)).one()
            raise StoreError(
                f"{annotator} was not asked about sample {found.sample_id} of task {found.task}: "
                "fetch questions, and answer those"
            )


def _mark_extra(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Turn answers that exceed the votes of their question into extra ones, which do not count."""
    limits, people_by_question = _votes(connection, sorted({row["question_id"] for row in rows}))
    for row in rows:
        limit, people = limits.get(row["question_id"]), people_by_question[row["question_id"]]
        if limit is not None and row["annotator"] not in people and len(people) >= limit:
            row["kind"] = "extra"
        else:
            people.add(row["annotator"])


def _votes(
    connection: Connection, question_ids: Sequence[int]
) -> tuple[dict[int, int], dict[int, set[str]]]:
    """Return how many answers questions ask for, where there is a limit, and who answered them."""
    limits: dict[int, int] = {}
    people: dict[int, set[str]] = {each: set() for each in question_ids}
    for chunk in chunks(question_ids):
        limited = QUESTIONS.c.id.in_(chunk), QUESTIONS.c.gold.is_(None)
        asked = connection.execute(select(QUESTIONS.c.id, QUESTIONS.c.votes).where(*limited))
        limits |= {each.id: each.votes for each in asked}
        holders = select(EVENTS.c.question_id, EVENTS.c.annotator)
        for each in connection.execute(holders.where(EVENTS.c.question_id.in_(chunk), effective())):
            people[each.question_id].add(each.annotator)
    return limits, people


def _settle_leases(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Set `held_s` and `late` of answers from their leases, and delete those leases."""
    answers = [row for row in rows if _kind(row) == "answer"]
    holders = tuple_(LEASES.c.question_id, LEASES.c.annotator)
    answered = holders.in_([(row["question_id"], row["annotator"]) for row in answers])
    leases = {
        (lease["question_id"], lease["annotator"]): lease
        for lease in connection.execute(select(LEASES).where(answered)).mappings()
    }
    for row in answers:
        lease = leases.get((row["question_id"], row["annotator"]))
        if lease is not None:
            row["held_s"] = row["submitted_at"] - lease["claimed_at"]
            row["late"] = row["late"] or row["submitted_at"] > lease["expires_at"]
    if leases:
        connection.execute(delete(LEASES).where(answered))


def _update_given(connection: Connection, question_ids: set[int]) -> None:
    """Set `given` of questions to their number of effective answers."""
    count = select(func.count()).where(EVENTS.c.question_id == QUESTIONS.c.id, effective())
    connection.execute(
        update(QUESTIONS)
        .where(QUESTIONS.c.id.in_(sorted(question_ids)))
        .values(given=count.scalar_subquery())
    )
