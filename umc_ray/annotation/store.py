"""The annotation store: questions and answers in an SQL database.

Each call is one transaction. Answers are append-only events; a person's last answer counts.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, RowMapping, func, insert, select, update

from umc_ray.annotation.database import open_database
from umc_ray.annotation.events import SampleKey, append_events, chunks, find_questions
from umc_ray.annotation.schema import (
    EVENTS,
    OPEN,
    QUESTIONS,
    effective,
    events_with_questions,
    lock_campaign,
    of_kind,
)
from umc_ray.errors import StoreError
from umc_ray.records import Made


@dataclass(frozen=True)
class Payload:
    """What the page shows next to a sample: what the models predict, by `tasks.task.Prediction`.

    `text` is of a sample outside the pool, `made` of a synthetic one. The sample is number `rank`
    of the `ranked` ones that were selected in its domain.
    """

    text: str | None = None
    predicted: str | None = None
    confidence: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    specialists: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    score: float | None = None
    margin: float | None = None
    disagreement: float | None = None
    rank: int | None = None
    ranked: int | None = None
    made: Made | None = None


_PAYLOAD = TypeAdapter(Payload)
_AS_GIVEN = ("annotator", "label", "reason", "seconds", "guideline", "seen", "bulk")


@dataclass(frozen=True)
class Question:
    """A sample to annotate.

    Higher `priority` comes first. `hide_prediction` keeps the model's prediction off the page.
    `gold` is the known label of a quality check: every annotator gets it, and it is not part of
    the round.
    """

    campaign: str
    round: int
    task: str
    domain: str
    sample_id: int
    votes: int = 1
    priority: float = 0.0
    why: str = ""
    payload: Payload = Payload()
    gold: str | None = None
    hide_prediction: bool = False

    @property
    def key(self) -> SampleKey:
        """Identity of the question: each sample is submitted once per campaign and task."""
        return self.campaign, self.task, self.sample_id

    def answered(self, annotator: str, label: str | None) -> "Answer":
        """Return an answer to the question."""
        return Answer(
            campaign=self.campaign,
            task=self.task,
            domain=self.domain,
            sample_id=self.sample_id,
            annotator=annotator,
            label=label,
            round=self.round,
        )


@dataclass(frozen=True)
class Answer:
    """One person's answer to one question; a skip has no label and may have a reason.

    `seconds` is the active working time. `submitted_at` is in seconds since 1970; None means now,
    by the store's clock. `guideline` is the version of the guidelines that was shown, `seen`
    whether the model's suggestion was shown, and `bulk` the group that was answered as a whole.
    The store sets `held_s`, the seconds from claim to answer, and `late`: the lease had expired or
    the round was closed.
    """

    campaign: str
    task: str
    domain: str
    sample_id: int
    annotator: str
    label: str | None
    round: int
    seconds: float | None = None
    submitted_at: float | None = None
    reason: str | None = None
    guideline: str | None = None
    seen: bool | None = None
    bulk: str | None = None
    held_s: float | None = None
    late: bool = False

    @property
    def key(self) -> SampleKey:
        """Key of the question."""
        return self.campaign, self.task, self.sample_id


class AnnotationStore:
    """Questions and answers of campaigns; several processes can share one database."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        """Open an SQLAlchemy URL such as sqlite:////runs/tickets/labels.db.

        Raises:
            StoreError: the database cannot be opened.
        """
        self.engine: Engine = open_database(url)
        self.clock = clock
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._write_lock: AbstractContextManager[Any] = (
            threading.Lock() if is_sqlite else nullcontext()
        )
        self.readers = self.engine.execution_options(reads_only=True)

    def close(self) -> None:
        """Close all database connections."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one write transaction.

        On SQLite a lock serializes the threads: SQLite itself waits by sleeping ever longer.
        """
        with self._write_lock, self.engine.begin() as connection:
            yield connection

    def submit(self, questions: Sequence[Question]) -> int:
        """Add questions, each sample once; return how many are new.

        Raises:
            StoreError: a sample was already submitted in another round; no question is added.
        """
        first: dict[SampleKey, Question] = {}
        for question in questions:
            first.setdefault(question.key, question)
        with self.writing() as connection:
            for campaign in sorted({question.campaign for question in questions}):
                lock_campaign(connection, campaign)
            stored = find_questions(connection, list(first))
            for key, row in stored.items():
                if row["round"] != first[key].round:
                    raise StoreError(
                        f"sample {key[2]} of task {key[1]} cannot be submitted in round "
                        f"{first[key].round}: campaign {key[0]} already has it in round "
                        f"{row['round']}"
                    )
            new = [question_row(question) for key, question in first.items() if key not in stored]
            if new:
                connection.execute(insert(QUESTIONS), new)
        return len(new)

    def record(
        self, answers: Sequence[Answer], client_keys: Sequence[str], asked_only: bool = False
    ) -> int:
        """Store answers durably, each client key once; return how many are new.

        With `asked_only`, people must have been given the questions; answers beyond their votes are
        extra ones, which do not count.

        Raises:
            StoreError: one has no question, or a client key of another event; none is stored.
        """
        with self.writing() as connection:
            rows = self._events(connection, "answer", answers, client_keys)
            return append_events(connection, rows, asked_only)

    def record_as(self, kind: str, answers: Sequence[Answer], client_keys: Sequence[str]) -> int:
        """Store events of another kind, such as review, in the same way."""
        with self.writing() as connection:
            return append_events(connection, self._events(connection, kind, answers, client_keys))

    def question(self, key: SampleKey) -> Question | None:
        """Return the question about a sample, gold or not; None if there is none."""
        campaign, task, sample_id = key
        with self.readers.connect() as connection:
            own = QUESTIONS.c.campaign == campaign, QUESTIONS.c.task == task
            query = select(QUESTIONS).where(*own, QUESTIONS.c.sample_id == sample_id)
            row = connection.execute(query).mappings().first()
        return None if row is None else question_of(row)

    def questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return all questions except gold ones, by descending priority."""
        return self._select_questions(_in_round(campaign, round))

    def open_questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return the questions that still need answers, by descending priority."""
        return self._select_questions([OPEN, *_in_round(campaign, round)])

    def answers(self, campaign: str, round: int | None = None) -> list[Answer]:
        """Return the effective answers, oldest first."""
        return self._select_answers([effective(), *_in_round(campaign, round)])

    def gold_answers(self, campaign: str) -> list[tuple[Answer, str]]:
        """Return the effective answers to gold questions, each with the known label."""
        conditions = [effective(), QUESTIONS.c.campaign == campaign, QUESTIONS.c.gold.is_not(None)]
        with self.readers.connect() as connection:
            rows = connection.execute(
                events_with_questions().where(*conditions).order_by(EVENTS.c.id)
            )
            return [(answer_of(row), row["gold"]) for row in rows.mappings()]

    def events(self, kind: str, campaign: str, round: int | None = None) -> list[Answer]:
        """Return all events of a kind, such as flag, note or review, oldest first."""
        return self._select_answers([of_kind(kind), *_in_round(campaign, round)])

    def progress(self, campaign: str, round: int | None = None) -> tuple[int, int]:
        """Return the number of fully answered questions, and of all questions."""
        done = func.count().filter(QUESTIONS.c.given >= QUESTIONS.c.votes)
        query = select(done, func.count()).select_from(QUESTIONS).where(*_in_round(campaign, round))
        with self.readers.connect() as connection:
            answered, total = connection.execute(query).one()
        return answered, total

    def current_round(self, campaign: str) -> int | None:
        """Return the oldest round with open questions, else the newest; None if there is none."""
        oldest_open = func.min(QUESTIONS.c.round).filter(OPEN)
        newest = func.max(QUESTIONS.c.round)
        query = select(func.coalesce(oldest_open, newest)).where(*_in_round(campaign, None))
        with self.readers.connect() as connection:
            current: int | None = connection.scalar(query)
        return current

    def reopened_rounds(self, campaign: str) -> list[int]:
        """Return the closed rounds for which something came after they were closed."""
        came_late = [EVENTS.c.late.is_(True), QUESTIONS.c.closed.is_(True), QUESTIONS.c.round > 0]
        query = select(QUESTIONS.c.round).join(EVENTS, EVENTS.c.question_id == QUESTIONS.c.id)
        conditions = [*came_late, *_in_round(campaign, None)]
        with self.readers.connect() as connection:
            found = connection.scalars(query.where(*conditions).distinct())
            return sorted(found)

    def withdraw(self, keys: Sequence[SampleKey]) -> None:
        """Ask nobody any more; the questions count as answered, and what was answered stays."""
        with self.writing() as connection:
            rows = find_questions(connection, keys, lock=True).values()
            for ids in chunks([row["id"] for row in rows]):
                mine = QUESTIONS.c.id.in_(ids)
                connection.execute(update(QUESTIONS).where(mine).values(votes=0, closed=True))

    def raise_votes(self, questions: Iterable[Question], votes: int) -> None:
        """Raise the number of answers that questions need; never lower it."""
        keys = [question.key for question in questions]
        with self.writing() as connection:
            rows = find_questions(connection, keys, lock=True).values()
            for ids in chunks([row["id"] for row in rows]):
                lower = QUESTIONS.c.id.in_(ids), QUESTIONS.c.votes < votes
                connection.execute(update(QUESTIONS).where(*lower).values(votes=votes))

    def close_round(self, campaign: str, round: int) -> None:
        """Close a round's questions; answers that still arrive are stored and marked late."""
        with self.writing() as connection:
            questions = update(QUESTIONS).where(*_in_round(campaign, round))
            connection.execute(questions.values(closed=True))

    def _select_questions(self, conditions: Sequence[Any]) -> list[Question]:
        order = QUESTIONS.c.priority.desc(), QUESTIONS.c.id
        with self.readers.connect() as connection:
            rows = connection.execute(select(QUESTIONS).where(*conditions).order_by(*order))
            return [question_of(row) for row in rows.mappings()]

    def _select_answers(self, conditions: Sequence[Any]) -> list[Answer]:
        with self.readers.connect() as connection:
            rows = connection.execute(
                events_with_questions().where(*conditions).order_by(EVENTS.c.id)
            )
            return [answer_of(row) for row in rows.mappings()]

    def _events(
        self, connection: Connection, kind: str, answers: Sequence[Answer], keys: Sequence[str]
    ) -> list[dict[str, Any]]:
        questions = find_questions(connection, [answer.key for answer in answers], lock=True)
        return [
            self._event(kind, answer, key, questions.get(answer.key))
            for answer, key in zip(answers, keys, strict=True)
        ]

    def _event(
        self, kind: str, answer: Answer, client_key: str, question: RowMapping | None
    ) -> dict[str, Any]:
        if question is None or question["round"] != answer.round:
            raise StoreError(
                f"cannot store the answer of {answer.annotator} to sample {answer.sample_id} of "
                f"task {answer.task}: it is not in round {answer.round} of campaign "
                f"{answer.campaign}"
            )
        submitted_at = self.clock() if answer.submitted_at is None else answer.submitted_at
        return {
            **{name: getattr(answer, name) for name in _AS_GIVEN},
            "question_id": question["id"],
            "kind": kind,
            "client_key": client_key,
            "held_s": None,
            "late": question["closed"],
            "submitted_at": submitted_at,
        }


def question_row(question: Question) -> dict[str, Any]:
    """Convert a question to a row."""
    payload = _PAYLOAD.dump_python(question.payload, mode="json", exclude_defaults=True)
    return {**vars(question), "payload": payload}


def question_of(row: RowMapping) -> Question:
    """Convert a row to a question."""
    columns = {each.name: row[each.name] for each in fields(Question)}
    return Question(**{**columns, "payload": _PAYLOAD.validate_python(row["payload"])})


def answer_of(row: RowMapping) -> Answer:
    """Convert a row of `events_with_questions` to an answer."""
    return Answer(**{each.name: row[each.name] for each in fields(Answer)})


def _in_round(campaign: str, round: int | None) -> list[Any]:
    conditions = [QUESTIONS.c.campaign == campaign, QUESTIONS.c.gold.is_(None)]
    return conditions if round is None else [*conditions, QUESTIONS.c.round == round]
