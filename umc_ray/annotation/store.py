"""The annotation store: what people are asked and what they answered, in any SQL database.

A call is one transaction: it happened, on disk, or it did not. Answers are events that are only
added; of several answers of one person to one question the last counts.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, func, insert, select, update

from umc_ray.annotation.events import SampleKey, append_events, chunks, find_questions
from umc_ray.annotation.schema import (
    EVENTS,
    OPEN,
    QUESTIONS,
    lock_campaign,
    open_database,
    standing,
)
from umc_ray.errors import StoreError


@dataclass(frozen=True)
class Question:
    """A sample that people are asked about.

    `payload` is what the page shows beside the sample, as JSON: `predicted` (a label),
    `confidence` (0 to 1), and what `umc_ray.specialists.predictions` says. Questions of higher
    `priority` come first. `blind`: the page hides what the model thinks. `gold`: the label is
    known, each person is asked, and it is never open.
    """

    campaign: str
    round: int
    task: str
    domain: str
    sample_id: int
    votes: int = 1
    priority: float = 0.0
    why: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    gold: str | None = None
    hide_prediction: bool = False

    @property
    def key(self) -> SampleKey:
        """What makes it one question: a sample is asked once per campaign and task."""
        return self.campaign, self.task, self.sample_id


@dataclass(frozen=True)
class Answer:
    """What one person said to one question; a skip has no label and may have a reason.

    `seconds` of active work; `submitted_at` in seconds since 1970, the store's clock if None;
    `guideline` is the version that was shown, `seen` whether the model's suggestion was, and `bulk`
    the group of samples that was answered as a whole. The store adds `held_s`, the seconds from
    claim to answer, and `late`: the lease had run out or the round was closed.
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
        """The question it answers."""
        return self.campaign, self.task, self.sample_id


class AnnotationStore:
    """Questions and answers of campaigns; any number of processes may open the same database."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        """Open an SQLAlchemy URL such as sqlite:////runs/tickets/labels.db.

        Raises:
            StoreError: the database cannot be opened.
        """
        self.engine: Engine = open_database(url)
        self.clock = clock
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[Any] = threading.Lock() if is_sqlite else nullcontext()
        self.readers = self.engine.execution_options(reads_only=True)

    def close(self) -> None:
        """Close the connections to the database."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one writing transaction.

        Threads take turns on SQLite: its own waiting is by sleeping, ever longer.
        """
        with self._turn, self.engine.begin() as connection:
            yield connection

    def submit(self, questions: Sequence[Question]) -> int:
        """Ask questions, each sample once; return how many are new.

        Raises:
            StoreError: a sample was asked in another round; nothing is asked then.
        """
        first: dict[SampleKey, Question] = {}
        for question in questions:
            first.setdefault(question.key, question)
        with self.writing() as connection:
            for campaign in sorted({question.campaign for question in questions}):
                lock_campaign(connection, campaign)
            asked = find_questions(connection, list(first))
            for key, row in asked.items():
                if row["round"] != first[key].round:
                    raise StoreError(
                        f"sample {key[2]} of task {key[1]} cannot be asked in round "
                        f"{first[key].round}: it was asked in round {row['round']} of campaign "
                        f"{key[0]}"
                    )
            new = [asdict(question) for key, question in first.items() if key not in asked]
            if new:
                connection.execute(insert(QUESTIONS), new)
        return len(new)

    def record(self, answers: Sequence[Answer], client_keys: Sequence[str]) -> int:
        """Keep answers, each client key once; return how many are new.

        When it returns, they are on disk.

        Raises:
            StoreError: an answer to what was never asked, or a client key that stands for
                something else; nothing is kept then.
        """
        return self.record_as("answer", answers, client_keys)

    def record_as(self, kind: str, answers: Sequence[Answer], client_keys: Sequence[str]) -> int:
        """Keep events of another kind than answer, such as review, in the same way."""
        with self.writing() as connection:
            asked = find_questions(connection, [answer.key for answer in answers], lock=True)
            rows = [
                self._event(kind, answer, client_key, asked.get(answer.key))
                for answer, client_key in zip(answers, client_keys, strict=True)
            ]
            return append_events(connection, rows)

    def question(self, key: SampleKey) -> Question | None:
        """Return what was asked about a sample, gold or not; None if nothing was."""
        campaign, task, sample_id = key
        with self.readers.connect() as connection:
            wanted = select(QUESTIONS).where(
                QUESTIONS.c.campaign == campaign,
                QUESTIONS.c.task == task,
                QUESTIONS.c.sample_id == sample_id,
            )
            row = connection.execute(wanted).mappings().first()
        return None if row is None else question_of(row)

    def questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return all questions but gold ones, the most important first."""
        return self._select_questions(_within(campaign, round))

    def open_questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return the questions that still miss answers, the most important first."""
        return self._select_questions([OPEN, *_within(campaign, round)])

    def answers(self, campaign: str, round: int | None = None) -> list[Answer]:
        """Return the answers that count, in the order in which they came."""
        return self._select_answers([standing(), *_within(campaign, round)])

    def gold_answers(self, campaign: str) -> list[tuple[Answer, str]]:
        """Return the answers that count to gold questions, each with the known label."""
        conditions = [standing(), QUESTIONS.c.campaign == campaign, QUESTIONS.c.gold.is_not(None)]
        with self.readers.connect() as connection:
            rows = connection.execute(
                events_with_questions().where(*conditions).order_by(EVENTS.c.id)
            )
            return [(answer_of(row), row["gold"]) for row in rows.mappings()]

    def events(self, kind: str, campaign: str, round: int | None = None) -> list[Answer]:
        """Return the events of a kind, such as flag, note or review, in order."""
        return self._select_answers([EVENTS.c.kind == kind, *_within(campaign, round)])

    def progress(self, campaign: str, round: int | None = None) -> tuple[int, int]:
        """Return how many questions have all their answers, and how many were asked."""
        done = func.count().filter(QUESTIONS.c.given >= QUESTIONS.c.votes)
        wanted = select(done, func.count()).select_from(QUESTIONS).where(*_within(campaign, round))
        with self.readers.connect() as connection:
            answered, asked = connection.execute(wanted).one()
        return answered, asked

    def current_round(self, campaign: str) -> int | None:
        """Return the oldest round with open questions, else the newest; None if none was asked."""
        of_open, of_all = func.min(QUESTIONS.c.round).filter(OPEN), func.max(QUESTIONS.c.round)
        wanted = select(func.coalesce(of_open, of_all)).where(*_within(campaign, None))
        with self.readers.connect() as connection:
            current: int | None = connection.scalar(wanted)
        return current

    def raise_votes(self, questions: Iterable[Question], votes: int) -> None:
        """Ask for more answers to questions, where people disagree; never for fewer."""
        keys = [question.key for question in questions]
        with self.writing() as connection:
            asked = find_questions(connection, keys, lock=True)
            for some in chunks([row["id"] for row in asked.values()]):
                of_these = QUESTIONS.c.id.in_(some)
                connection.execute(
                    update(QUESTIONS).where(of_these, QUESTIONS.c.votes < votes).values(votes=votes)
                )

    def close_round(self, campaign: str, round: int) -> None:
        """Ask nothing more in a round; answers that still come are kept, marked as late."""
        with self.writing() as connection:
            of_round = update(QUESTIONS).where(*_within(campaign, round))
            connection.execute(of_round.values(closed=True))

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

    def _event(
        self, kind: str, answer: Answer, client_key: str, question: RowMapping | None
    ) -> dict[str, Any]:
        if question is None or question["round"] != answer.round:
            raise StoreError(
                f"sample {answer.sample_id} of task {answer.task} was never asked in round "
                f"{answer.round} of campaign {answer.campaign}, but {answer.annotator} answered it"
            )
        at = self.clock() if answer.submitted_at is None else answer.submitted_at
        return {
            "question_id": question["id"],
            "kind": kind,
            "annotator": answer.annotator,
            "client_key": client_key,
            "label": answer.label,
            "reason": answer.reason,
            "seconds": answer.seconds,
            "guideline": answer.guideline,
            "seen": answer.seen,
            "bulk": answer.bulk,
            "held_s": None,
            "late": question["closed"],
            "submitted_at": at,
        }


def question_of(row: RowMapping) -> Question:
    """Read a question from its row."""
    return Question(**{each.name: row[each.name] for each in fields(Question)})


def answer_of(row: RowMapping) -> Answer:
    """Read an answer from its event's row with its question."""
    return Answer(**{each.name: row[each.name] for each in fields(Answer)})


def events_with_questions() -> Select[Any]:
    """Select events with their questions; `id` is the question's."""
    of_event = [column for column in EVENTS.c if column.name != "id"]
    return select(QUESTIONS, *of_event).join(EVENTS, EVENTS.c.question_id == QUESTIONS.c.id)


def _within(campaign: str, round: int | None) -> list[Any]:
    conditions = [QUESTIONS.c.campaign == campaign, QUESTIONS.c.gold.is_(None)]
    return conditions if round is None else [*conditions, QUESTIONS.c.round == round]
