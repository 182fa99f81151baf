"""How events enter the store: each once, counted, and with what its lease says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, tuple_, update

from umc_ray.annotation.schema import EVENTS, LEASES, QUESTIONS, standing
from umc_ray.errors import StoreError

SQL_LIST = 500  # values in one IN (...): databases limit them
Item = TypeVar("Item")
SampleKey = tuple[str, str, int]  # campaign, task, sample_id
IDENTITY = ("kind", "question_id", "annotator", "label")


def find_questions(
    connection: Connection, keys: Sequence[SampleKey], lock: bool = False
) -> dict[SampleKey, RowMapping]:
    """Find the stored questions of samples; lock: so that nobody counts their answers meanwhile."""
    ids_of: dict[tuple[str, str], set[int]] = {}
    for campaign, task, sample_id in keys:
        ids_of.setdefault((campaign, task), set()).add(sample_id)
    found = {}
    columns = QUESTIONS.c
    for (campaign, task), ids in ids_of.items():
        for some in chunks(sorted(ids)):
            wanted = (
                select(columns.id, columns.round, columns.sample_id, columns.closed)
                .where(columns.campaign == campaign, columns.task == task)
                .where(columns.sample_id.in_(some))
                .order_by(columns.id)  # all lock in one order, so no two wait for each other
            )
            rows = connection.execute(wanted.with_for_update() if lock else wanted).mappings()
            found.update({(campaign, task, row["sample_id"]): row for row in rows})
    return found


def append_events(connection: Connection, events: Sequence[Mapping[str, Any]]) -> int:
    """Add events, each client key once, and count the answers that stand; return how many are new.

    The caller has locked their questions. An answer ends its lease, and is late if that had run
    out when it was submitted.

    Raises:
        StoreError: a client key that stands for something else.
    """
    known = _by_client_key(connection, [event["client_key"] for event in events])
    new: dict[str, dict[str, Any]] = {}
    for event in events:
        client_key = event["client_key"]
        before = known.get(client_key) or new.get(client_key)
        if before is None:
            new[client_key] = dict(event)
        elif any(before[name] != event[name] for name in IDENTITY):
            raise StoreError(
                f"client key {client_key!r} of {event['annotator']} was used for something else: "
                f"{before['kind']} {before['label']!r} of {before['annotator']}"
            )
    rows = list(new.values())
    for some in chunks(rows):
        _settle_leases(connection, some)
        connection.execute(insert(EVENTS), some)
        _count_given(connection, {row["question_id"] for row in some})
    return len(rows)


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut a list into pieces that fit into one statement."""
    return (items[start : start + SQL_LIST] for start in range(0, len(items), SQL_LIST))


def _by_client_key(connection: Connection, client_keys: Sequence[str]) -> dict[str, RowMapping]:
    found: dict[str, RowMapping] = {}
    for some in chunks(client_keys):
        wanted = select(EVENTS).where(EVENTS.c.client_key.in_(some))
        found.update({row["client_key"]: row for row in connection.execute(wanted).mappings()})
    return found


def _settle_leases(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """End the leases of answered questions, and write into the answers what they say."""
    answers = [row for row in rows if row["kind"] == "answer"]
    holders = tuple_(LEASES.c.question_id, LEASES.c.annotator)
    of_answers = holders.in_([(row["question_id"], row["annotator"]) for row in answers])
    leases = {
        (lease["question_id"], lease["annotator"]): lease
        for lease in connection.execute(select(LEASES).where(of_answers)).mappings()
    }
    for row in answers:
        lease = leases.get((row["question_id"], row["annotator"]))
        if lease is not None:
            row["held_s"] = row["submitted_at"] - lease["claimed_at"]
            row["late"] = row["late"] or row["submitted_at"] > lease["expires_at"]
    if leases:
        connection.execute(delete(LEASES).where(of_answers))


def _count_given(connection: Connection, question_ids: set[int]) -> None:
    """Bring `given` of some questions up to date with their events."""
    count = select(func.count()).where(EVENTS.c.question_id == QUESTIONS.c.id, standing())
    connection.execute(
        update(QUESTIONS)
        .where(QUESTIONS.c.id.in_(sorted(question_ids)))
        .values(given=count.scalar_subquery())
    )
