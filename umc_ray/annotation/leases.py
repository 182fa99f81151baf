"""Leases: assign questions to annotators for a limited time, and undo answers.

A lease reserves one vote of a question for one annotator until it expires, so no question is on
more screens than it needs votes. On PostgreSQL, claims of different annotators do not block each
other.
"""

from collections.abc import Collection, Sequence
from math import ceil
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from umc_ray.annotation.assignments import asked_of, assigned_to, reserved_for_others
from umc_ray.annotation.events import SampleKey, append_events, find_questions
from umc_ray.annotation.schema import (
    EVENTS,
    LEASES,
    OPEN,
    QUESTIONS,
    REVIEWER,
    answered_by,
    events_with_questions,
    standing,
)
from umc_ray.annotation.store import (
    AnnotationStore,
    Question,
    question_of,
)
from umc_ray.errors import StoreError
from umc_ray.records import DomainKey

_ORDER = (QUESTIONS.c.priority.desc(), QUESTIONS.c.id)


def release_all(store: AnnotationStore, campaign: str, annotator: str) -> None:
    """Release all leases of a person: of questions and of cases, in batches too."""
    mine = QUESTIONS.c.campaign == campaign
    batches = QUESTIONS.c.campaign.startswith(f"{campaign}/", autoescape=True)
    now = store.clock()
    held = (
        LEASES.c.annotator.in_((annotator, f"{REVIEWER}{annotator}")),
        LEASES.c.expires_at > now,
        LEASES.c.question_id.in_(select(QUESTIONS.c.id).where(or_(mine, batches))),
    )
    with store.writing() as connection:
        connection.execute(update(LEASES).where(*held).values(expires_at=now))


class LeaseManager:
    """Leases of one annotator in one campaign."""

    def __init__(
        self,
        store: AnnotationStore,
        campaign: str,
        annotator: str,
        lease_s: float = 300.0,
        gold_every: int | None = None,
        domains: Collection[DomainKey] = (),
    ) -> None:
        """Manage leases of `lease_s` seconds; every `gold_every`-th question is a gold one.

        A person who is asked about some domains only gets no others, unless they are assigned.
        """
        self._store, self._campaign, self._annotator = store, campaign, annotator
        self._lease_s, self._gold_every = lease_s, gold_every
        self._asked = asked_of(annotator, domains)

    def claim(self, count: int) -> list[Question]:
        """Lease up to `count` questions, by descending priority."""
        now = self._store.clock()
        with self._store.writing() as connection:
            claimed = self._due_gold(connection, count, now)
            self._lease(connection, claimed, now)
            while len(claimed) < count:
                candidates = self._lock_candidates(connection, count - len(claimed), now)
                if not candidates:
                    break
                free = self._still_free(connection, candidates, now)
                self._lease(connection, free, now)
                claimed += free
        return [question_of(row) for row in claimed]

    def fair_share(self, count: int) -> int:
        """Return how many of `count` questions to hold at most, so that all finish together.

        That is the open votes by the people who hold some, and at least one.
        """
        now = self._store.clock()
        working = (
            QUESTIONS.c.campaign == self._campaign,
            OPEN,
            LEASES.c.expires_at > now,
            LEASES.c.annotator != self._annotator,
            ~LEASES.c.annotator.startswith(REVIEWER),
        )
        names = select(func.count(LEASES.c.annotator.distinct())).select_from(LEASES)
        others = names.join(QUESTIONS, LEASES.c.question_id == QUESTIONS.c.id).where(*working)
        with self._store.readers.connect() as connection:
            people = 1 + (connection.scalar(others) or 0)
            some = select((QUESTIONS.c.votes - QUESTIONS.c.given).label("votes")).where(
                QUESTIONS.c.campaign == self._campaign, OPEN, self._asked
            )
            first = some.order_by(*_ORDER).limit(count * people).subquery()
            votes = connection.scalar(select(func.sum(first.c.votes))) or 0
        return max(1, min(count, ceil(votes / people)))

    def claim_samples(self, keys: Sequence[SampleKey]) -> list[Question]:
        """Lease the questions about given samples that are free; return all that are now held."""
        now = self._store.clock()
        with self._store.writing() as connection:
            ids = [row["id"] for row in find_questions(connection, keys, lock=True).values()]
            self._lease(connection, self._still_free(connection, ids, now), now)
            query = self._select_held(now).where(QUESTIONS.c.id.in_(ids))
            return [question_of(row) for row in connection.execute(query).mappings()]

    def claim_cases(self, questions: Sequence[Question], most: int) -> list[Question]:
        """Lease the first cases for review that no other reviewer has; returns them.

        These leases are those of a reviewer's name with REVIEWER before it, and take no votes.
        """
        now = self._store.clock()
        with self._store.writing() as connection:
            rows = find_questions(connection, [each.key for each in questions], lock=True)
            reviewing = LEASES.c.annotator.startswith(REVIEWER), LEASES.c.expires_at > now
            others = select(LEASES.c.question_id).where(
                *reviewing, LEASES.c.annotator != self._annotator
            )
            taken = set(connection.scalars(others))
            free = [each for each in questions if rows[each.key]["id"] not in taken][:most]
            self._lease(connection, [rows[each.key] for each in free], now)
        return free

    def held(self) -> list[Question]:
        """Return the leased questions, in the order in which they were claimed."""
        with self._store.readers.connect() as connection:
            rows = connection.execute(self._select_held(self._store.clock())).mappings()
            return [question_of(row) for row in rows]

    def heartbeat(self) -> int:
        """Renew all leases that have not expired; return how many there are."""
        now = self._store.clock()
        with self._store.writing() as connection:
            renewal = update(LEASES).where(self._is_live(now))
            return connection.execute(renewal.values(expires_at=now + self._lease_s)).rowcount

    def release(self, keys: Sequence[SampleKey] | None = None) -> None:
        """Release the leases of samples, or all of them: others can have the questions at once.

        What was held stays known: an answer that is still on its way is accepted.
        """
        now = self._store.clock()
        with self._store.writing() as connection:
            released = [self._is_live(now)]
            if keys is not None:
                found = find_questions(connection, keys).values()
                released.append(LEASES.c.question_id.in_([row["id"] for row in found]))
            connection.execute(update(LEASES).where(*released).values(expires_at=now))

    def undo(self, client_key: str, answer_key: str | None = None) -> list[Question]:
        """Undo the last answer, or its whole group; lease the questions again.

        A repeated client key undoes nothing more and returns the same questions. With the client
        key of a request, exactly its answers are undone.

        Raises:
            StoreError: the round is closed, so the answer has been used.
        """
        now = self._store.clock()
        with self._store.writing() as connection:
            undone = self._undone_by(connection, client_key)
            if undone:
                return [question_of(row) for row in undone]
            last = self._last_answers(connection, answer_key)
            if any(row["closed"] for row in last):
                raise StoreError(
                    f"the answer of {self._annotator} to sample {last[0]['sample_id']} of task "
                    f"{last[0]['task']} cannot be undone: round {last[0]['round']} is closed"
                )
            find_questions(connection, [question_of(row).key for row in last], lock=True)
            append_events(connection, self._undo_events(last, client_key, now))
            self._lease(connection, last, now)
        return [question_of(row) for row in last]

    def _select_held(self, now: float) -> Select[Any]:
        questions = select(QUESTIONS).join(LEASES, LEASES.c.question_id == QUESTIONS.c.id)
        return questions.where(self._is_live(now)).order_by(LEASES.c.claimed_at, *_ORDER)

    def _select_answers(self) -> Select[Any]:
        """Select this annotator's answers, newest first."""
        own = EVENTS.c.annotator == self._annotator, QUESTIONS.c.campaign == self._campaign
        return events_with_questions().where(*own, standing()).order_by(EVENTS.c.id.desc())

    def _last_answers(self, connection: Connection, answer_key: str | None) -> Sequence[RowMapping]:
        """Return the last answer or all answers of its group, or those of a request."""
        query = self._select_answers()
        if answer_key is not None:
            of_request = EVENTS.c.client_key.startswith(f"{answer_key}/", autoescape=True)
            return connection.execute(query.where(of_request)).mappings().all()
        last = connection.execute(query.limit(1)).mappings().all()
        if last and last[0]["bulk"] is not None:
            same_group = EVENTS.c.bulk == last[0]["bulk"]
            return connection.execute(query.where(same_group)).mappings().all()
        return last

    def _undone_by(self, connection: Connection, client_key: str) -> Sequence[RowMapping]:
        """Return what an earlier undo with the same client key undid."""
        rest_of_group = EVENTS.c.client_key.startswith(f"{client_key}/", autoescape=True)
        query = events_with_questions().where(
            or_(EVENTS.c.client_key == client_key, rest_of_group),
            EVENTS.c.kind == "undo",
            EVENTS.c.annotator == self._annotator,
        )
        return connection.execute(query.order_by(EVENTS.c.id)).mappings().all()

    def _undo_events(
        self, answers: Sequence[RowMapping], client_key: str, now: float
    ) -> list[dict[str, Any]]:
        return [
            {
                "question_id": answer["id"],
                "kind": "undo",
                "annotator": self._annotator,
                "client_key": f"{client_key}/{i}" if i else client_key,
                "label": None,
                "submitted_at": now,
            }
            for i, answer in enumerate(answers)
        ]

    def _lease(self, connection: Connection, questions: Sequence[RowMapping], now: float) -> None:
        ids = [row["id"] for row in questions]
        if ids:
            own = and_(LEASES.c.question_id.in_(ids), LEASES.c.annotator == self._annotator)
            connection.execute(delete(LEASES).where(own))  # expired ones
            lease = {"annotator": self._annotator, "claimed_at": now}
            lease["expires_at"] = now + self._lease_s
            connection.execute(insert(LEASES), [{"question_id": each, **lease} for each in ids])

    def _lock_candidates(self, connection: Connection, count: int, now: float) -> list[int]:
        """Lock free questions, skipping those that another claim has locked."""
        query = select(QUESTIONS.c.id).where(self._is_free(now)).order_by(*_ORDER).limit(count)
        query = query.with_for_update(skip_locked=True)
        mine = list(connection.scalars(query.where(assigned_to(self._annotator))))
        return mine or list(connection.scalars(query))

    def _still_free(self, connection: Connection, ids: list[int], now: float) -> list[RowMapping]:
        """Check locked questions again: PostgreSQL selected them from an earlier snapshot."""
        free = QUESTIONS.c.id.in_(ids), self._is_free(now)
        return list(connection.execute(select(QUESTIONS).where(*free).order_by(*_ORDER)).mappings())

    def _is_free(self, now: float) -> ColumnElement[bool]:
        """Return the condition for questions with a vote left for this annotator."""
        live = and_(
            LEASES.c.question_id == QUESTIONS.c.id,
            LEASES.c.expires_at > now,
            ~LEASES.c.annotator.startswith(REVIEWER),
        )
        lease_count = select(func.count()).where(live).scalar_subquery()
        held = exists().where(live, LEASES.c.annotator == self._annotator)
        reserved = reserved_for_others(self._annotator, now)
        return and_(
            QUESTIONS.c.campaign == self._campaign,
            OPEN,
            self._asked,
            QUESTIONS.c.given + lease_count + reserved < QUESTIONS.c.votes,
            ~held,
            ~answered_by(self._annotator),
        )

    def _due_gold(self, connection: Connection, count: int, now: float) -> list[RowMapping]:
        """Return the gold questions that are due among the next `count` questions."""
        if self._gold_every is None:
            return []
        held = QUESTIONS.c.id.in_(select(LEASES.c.question_id).where(self._is_live(now)))
        assigned = held | answered_by(self._annotator)
        in_campaign = QUESTIONS.c.campaign == self._campaign
        gold = QUESTIONS.c.gold.is_not(None)
        counts = select(func.count(), func.count().filter(gold)).select_from(QUESTIONS)
        total, gold_total = connection.execute(counts.where(in_campaign, assigned)).one()
        due = min(count, (total + count) // self._gold_every - gold_total)
        free = in_campaign, gold, self._asked, ~held, ~answered_by(self._annotator)
        query = select(QUESTIONS).where(*free).order_by(*_ORDER).limit(max(due, 0))
        return list(connection.execute(query).mappings())

    def _is_live(self, now: float) -> ColumnElement[bool]:
        """Return the condition for this annotator's leases that have not expired."""
        questions = select(QUESTIONS.c.id).where(QUESTIONS.c.campaign == self._campaign)
        return and_(
            LEASES.c.annotator == self._annotator,
            LEASES.c.expires_at > now,
            LEASES.c.question_id.in_(questions),
        )
