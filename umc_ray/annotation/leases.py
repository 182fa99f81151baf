"""What one person does: claim questions for a while, answer, take back, remark.

A lease keeps a question on one person's screen until it runs out, so that no more people work on
a question than it has votes. On PostgreSQL claims of different people do not wait for each other.
"""

from collections.abc import Sequence
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

from umc_ray.annotation.events import SampleKey, append_events, find_questions
from umc_ray.annotation.schema import EVENTS, LEASES, OPEN, QUESTIONS, standing
from umc_ray.annotation.store import (
    AnnotationStore,
    Answer,
    Question,
    answer_of,
    events_with_questions,
    question_of,
)
from umc_ray.errors import StoreError

_ORDER = (QUESTIONS.c.priority.desc(), QUESTIONS.c.id)


class LeaseManager:
    """The place of one annotator in a campaign."""

    def __init__(
        self,
        store: AnnotationStore,
        campaign: str,
        annotator: str,
        lease_s: float = 300.0,
        gold_every: int | None = None,
    ) -> None:
        """Sit down; every `gold_every`-th question, if given, is one with a known answer."""
        self._store, self._campaign, self._annotator = store, campaign, annotator
        self._lease_s, self._gold_every = lease_s, gold_every

    def claim(self, count: int) -> list[Question]:
        """Lease up to `count` questions, the most important first."""
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

    def claim_these(self, keys: Sequence[SampleKey]) -> list[Question]:
        """Lease those of some questions that have a vote left; return all of them that are held."""
        now = self._store.clock()
        with self._store.writing() as connection:
            ids = [row["id"] for row in find_questions(connection, keys, lock=True).values()]
            self._lease(connection, self._still_free(connection, ids, now), now)
            held = self._held(now).where(QUESTIONS.c.id.in_(ids))
            return [question_of(row) for row in connection.execute(held).mappings()]

    def held(self) -> list[Question]:
        """Return the questions that are leased, in the order of the claims."""
        with self._store.readers.connect() as connection:
            rows = connection.execute(self._held(self._store.clock())).mappings()
            return [question_of(row) for row in rows]

    def heartbeat(self) -> int:
        """Renew all leases that have not run out; return how many there are."""
        now = self._store.clock()
        with self._store.writing() as connection:
            renewed = update(LEASES).where(self._live(now)).values(expires_at=now + self._lease_s)
            return connection.execute(renewed).rowcount

    def release(self) -> None:
        """Give all leased questions back."""
        with self._store.writing() as connection:
            connection.execute(delete(LEASES).where(self._live(self._store.clock())))

    def history(self, count: int) -> list[Answer]:
        """Return this person's last answers that stand, the newest first."""
        with self._store.readers.connect() as connection:
            rows = connection.execute(self._my_answers().limit(count)).mappings()
            return [answer_of(row) for row in rows]

    def undo(self, client_key: str) -> list[Question]:
        """Take back the last answer that stands, with its group; lease their questions again.

        Raises:
            StoreError: its round is closed: the answer has been used.
        """
        now = self._store.clock()
        with self._store.writing() as connection:
            done = self._undone_by(connection, client_key)
            if done:
                return [question_of(row) for row in done]
            last = self._last_answers(connection)
            if any(row["closed"] for row in last):
                raise StoreError(
                    f"the answer of {self._annotator} to sample {last[0]['sample_id']} of task "
                    f"{last[0]['task']} cannot be undone: round {last[0]['round']} is closed"
                )
            find_questions(connection, [question_of(row).key for row in last], lock=True)
            append_events(connection, self._undo_events(last, client_key, now))
            self._lease(connection, last, now)
        return [question_of(row) for row in last]

    def _held(self, now: float) -> Select[Any]:
        questions = select(QUESTIONS).join(LEASES, LEASES.c.question_id == QUESTIONS.c.id)
        return questions.where(self._live(now)).order_by(LEASES.c.claimed_at, *_ORDER)

    def _my_answers(self) -> Select[Any]:
        mine = EVENTS.c.annotator == self._annotator, QUESTIONS.c.campaign == self._campaign
        return events_with_questions().where(*mine, standing()).order_by(EVENTS.c.id.desc())

    def _last_answers(self, connection: Connection) -> Sequence[RowMapping]:
        """Return the last answer and, where it was given to a group, those to all of it."""
        wanted = self._my_answers()
        last = connection.execute(wanted.limit(1)).mappings().all()
        if last and last[0]["bulk"] is not None:
            of_group = EVENTS.c.bulk == last[0]["bulk"]
            return connection.execute(wanted.where(of_group)).mappings().all()
        return last

    def _undone_by(self, connection: Connection, client_key: str) -> Sequence[RowMapping]:
        rest_of_group = EVENTS.c.client_key.startswith(f"{client_key}/", autoescape=True)
        wanted = events_with_questions().where(
            or_(EVENTS.c.client_key == client_key, rest_of_group),
            EVENTS.c.kind == "undo",
            EVENTS.c.annotator == self._annotator,
        )
        return connection.execute(wanted.order_by(EVENTS.c.id)).mappings().all()

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
            mine = and_(LEASES.c.question_id.in_(ids), LEASES.c.annotator == self._annotator)
            connection.execute(delete(LEASES).where(mine))  # those that had run out
            lease = {"annotator": self._annotator, "claimed_at": now}
            lease["expires_at"] = now + self._lease_s
            connection.execute(insert(LEASES), [{"question_id": each, **lease} for each in ids])

    def _lock_candidates(self, connection: Connection, count: int, now: float) -> list[int]:
        """Lock free questions that nobody else is claiming at this moment."""
        wanted = select(QUESTIONS.c.id).where(self._free(now)).order_by(*_ORDER).limit(count)
        return list(connection.scalars(wanted.with_for_update(skip_locked=True)))

    def _still_free(self, connection: Connection, ids: list[int], now: float) -> list[RowMapping]:
        """Look again under the lock: PostgreSQL chose from what was there before it."""
        wanted = select(QUESTIONS).where(QUESTIONS.c.id.in_(ids), self._free(now)).order_by(*_ORDER)
        return list(connection.execute(wanted).mappings())

    def _free(self, now: float) -> ColumnElement[bool]:
        """Tell the questions with a vote left for this person."""
        live = and_(LEASES.c.question_id == QUESTIONS.c.id, LEASES.c.expires_at > now)
        held = select(func.count()).where(live).scalar_subquery()
        mine = exists().where(live, LEASES.c.annotator == self._annotator)
        return and_(
            QUESTIONS.c.campaign == self._campaign,
            OPEN,
            QUESTIONS.c.given + held < QUESTIONS.c.votes,
            ~mine,
            ~self._answered(),
        )

    def _answered(self) -> ColumnElement[bool]:
        return exists().where(
            EVENTS.c.question_id == QUESTIONS.c.id,
            EVENTS.c.annotator == self._annotator,
            standing(),
        )

    def _due_gold(self, connection: Connection, count: int, now: float) -> list[RowMapping]:
        """Return the gold questions that are due among the next `count` questions."""
        if self._gold_every is None:
            return []
        mine = QUESTIONS.c.id.in_(select(LEASES.c.question_id).where(self._live(now)))
        of_campaign = QUESTIONS.c.campaign == self._campaign
        gold = QUESTIONS.c.gold.is_not(None)
        seen = select(func.count(), func.count().filter(gold)).select_from(QUESTIONS)
        total, known = connection.execute(seen.where(of_campaign, mine | self._answered())).one()
        due = min(count, (total + count) // self._gold_every - known)
        wanted = select(QUESTIONS).where(of_campaign, gold, ~mine, ~self._answered())
        return list(connection.execute(wanted.order_by(*_ORDER).limit(max(due, 0))).mappings())

    def _live(self, now: float) -> ColumnElement[bool]:
        """Tell this person's leases that have not run out."""
        questions = select(QUESTIONS.c.id).where(QUESTIONS.c.campaign == self._campaign)
        return and_(
            LEASES.c.annotator == self._annotator,
            LEASES.c.expires_at > now,
            LEASES.c.question_id.in_(questions),
        )
