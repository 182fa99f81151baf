"""Append events to the store: deduplicate by client key, settle leases, update counts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, tuple_, update

from umc_ray.annotation.schema import EVENTS, LEASES, QUESTIONS, effective
from umc_ray.errors import StoreError

SQL_LIST = 500  # values per IN (...), which databases limit
Item = TypeVar("Item")
SampleKey = tuple[str, str, int]  # campaign, task, sample_id
IDENTITY = ("kind", "question_id", "annotator", "label")  # must match if a client key repeats


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


def append_events(connection: Connection, events: Sequence[Mapping[str, Any]]) -> int:
    """Append events, each client key once, and update answer counts; return how many are new.

    The caller must have locked the questions. An answer ends its lease, and is late if the lease
    had expired when it was submitted.

    Raises:
        StoreError: a client key was used for another event.
    """
    rows = _new_events(connection, events)
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
        elif any(first[name] != event[name] for name in IDENTITY):
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


def _settle_leases(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Set `held_s` and `late` of answers from their leases, and delete those leases."""
    answers = [row for row in rows if row["kind"] == "answer"]
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
