"""The annotation store: what people are asked and what they answered, in any SQL database.

A call is one transaction: it happened, on disk, or it did not. Answers are events that are only
added; of several answers of one person to one question the last counts.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, update

from umc_ray.annotation.schema import EVENTS, OPEN, QUESTIONS, open_database
from umc_ray.errors import StoreError

SQL_LIST = 500  # values in one IN (...): databases limit them
Item = TypeVar("Item")
SampleKey = tuple[str, str, int]  # campaign, task, sample_id


@dataclass(frozen=True)
class Question:
    """A sample that people are asked about.

    `payload` is what the page shows beside the sample, as JSON: `predicted` (a label),
    `confidence` (0 to 1). Questions of higher `priority` come first.
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

    @property
    def key(self) -> SampleKey:
        """What makes it one question: a sample is asked once per campaign and task."""
        return self.campaign, self.task, self.sample_id


@dataclass(frozen=True)
class Answer:
    """What one person said to one question; a skip has no label and may have a reason.

    `seconds` of active work; `submitted_at` in seconds since 1970, the store's clock if None.
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
        self._engine = open_database(url)
        self._readers = self._engine.execution_options(reads_only=True)
        self._clock = clock

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def submit(self, questions: Sequence[Question]) -> int:
        """Ask questions, each sample once; return how many are new.

        Raises:
            StoreError: a sample was asked in another round; nothing is asked then.
        """
        first = {question.key: question for question in questions}
        with self._engine.begin() as connection:
            asked = _questions_of(connection, list(first))
            for key, question in first.items():
                if key in asked and asked[key]["round"] != question.round:
                    raise StoreError(
                        f"sample {question.sample_id} of task {question.task} cannot be asked in "
                        f"round {question.round}: it was asked in round {asked[key]['round']} of "
                        f"campaign {question.campaign}"
                    )
            new = [asdict(question) for key, question in first.items() if key not in asked]
            if new:
                connection.execute(insert(QUESTIONS), new)
        return len(new)

    def record(self, answers: Sequence[Answer], client_keys: Sequence[str]) -> int:
        """Keep answers, each client key once; return how many are new.

        When it returns, they are on disk.

        Raises:
            StoreError: an answer to what was never asked, or a client key that stands for another
                answer; nothing is kept then.
        """
        with self._engine.begin() as connection:
            asked = _questions_of(connection, [answer.key for answer in answers], lock=True)
            rows: dict[str, dict[str, Any]] = {}
            known = _events_by_client_key(connection, client_keys)
            for answer, client_key in zip(answers, client_keys, strict=True):
                row = self._event(answer, client_key, asked.get(answer.key))
                before = known.get(client_key) or rows.get(client_key)
                if before is None:
                    rows[client_key] = row
                elif any(
                    before[name] != row[name] for name in ("question_id", "annotator", "label")
                ):
                    raise StoreError(
                        f"client key {client_key!r} was used for another answer than {answer}"
                    )
            if rows:
                connection.execute(insert(EVENTS), list(rows.values()))
                _count_given(connection, {row["question_id"] for row in rows.values()})
        return len(rows)

    def questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return all questions, the most important first."""
        return self._select_questions(_within(campaign, round))

    def open_questions(self, campaign: str, round: int | None = None) -> list[Question]:
        """Return the questions that still miss answers, the most important first."""
        return self._select_questions([OPEN, *_within(campaign, round)])

    def answers(self, campaign: str, round: int | None = None) -> list[Answer]:
        """Return the answers that count, in the order in which they came."""
        wanted = _counting_events().where(*_within(campaign, round)).order_by(EVENTS.c.id)
        with self._readers.connect() as connection:
            return [_answer(row) for row in connection.execute(wanted).mappings()]

    def progress(self, campaign: str, round: int | None = None) -> tuple[int, int]:
        """Return how many questions have all their answers, and how many were asked."""
        done = func.count().filter(~OPEN)
        wanted = select(done, func.count()).select_from(QUESTIONS).where(*_within(campaign, round))
        with self._readers.connect() as connection:
            answered, asked = connection.execute(wanted).one()
        return answered, asked

    def _select_questions(self, conditions: Sequence[Any]) -> list[Question]:
        order = QUESTIONS.c.priority.desc(), QUESTIONS.c.id
        with self._readers.connect() as connection:
            rows = connection.execute(select(QUESTIONS).where(*conditions).order_by(*order))
            return [_question(row) for row in rows.mappings()]

    def _event(
        self, answer: Answer, client_key: str, question: RowMapping | None
    ) -> dict[str, Any]:
        if question is None or question["round"] != answer.round:
            raise StoreError(
                f"sample {answer.sample_id} of task {answer.task} was never asked in round "
                f"{answer.round} of campaign {answer.campaign}, but {answer.annotator} answered it"
            )
        at = self._clock() if answer.submitted_at is None else answer.submitted_at
        return {
            "question_id": question["id"],
            "kind": "answer",
            "annotator": answer.annotator,
            "client_key": client_key,
            "label": answer.label,
            "reason": answer.reason,
            "seconds": answer.seconds,
            "submitted_at": at,
        }


def _within(campaign: str, round: int | None) -> list[Any]:
    of_campaign = QUESTIONS.c.campaign == campaign
    return [of_campaign] if round is None else [of_campaign, QUESTIONS.c.round == round]


def _questions_of(
    connection: Connection, keys: Sequence[SampleKey], lock: bool = False
) -> dict[SampleKey, RowMapping]:
    """Find the stored questions of samples; lock: so that nobody counts their answers meanwhile."""
    ids_of: dict[tuple[str, str], list[int]] = {}
    for campaign, task, sample_id in keys:
        ids_of.setdefault((campaign, task), []).append(sample_id)
    found = {}
    columns = QUESTIONS.c
    for (campaign, task), ids in ids_of.items():
        for some in _chunks(sorted(set(ids))):
            wanted = (
                select(columns.id, columns.round, columns.sample_id)
                .where(columns.campaign == campaign, columns.task == task)
                .where(columns.sample_id.in_(some))
                .order_by(columns.id)  # all lock in one order, so none waits for the other
            )
            rows = connection.execute(wanted.with_for_update() if lock else wanted).mappings()
            found.update({(campaign, task, row["sample_id"]): row for row in rows})
    return found


def _events_by_client_key(
    connection: Connection, client_keys: Sequence[str]
) -> dict[str, RowMapping]:
    found: dict[str, RowMapping] = {}
    for some in _chunks(client_keys):
        rows = connection.execute(select(EVENTS).where(EVENTS.c.client_key.in_(some))).mappings()
        found.update({row["client_key"]: row for row in rows})
    return found


def _counting_events() -> Select[Any]:
    """Select the last event of each person on each question, with its question."""
    latest = select(func.max(EVENTS.c.id)).group_by(EVENTS.c.question_id, EVENTS.c.annotator)
    return (
        select(QUESTIONS, *[column for column in EVENTS.c if column.name != "id"])
        .join(EVENTS, EVENTS.c.question_id == QUESTIONS.c.id)
        .where(EVENTS.c.id.in_(latest))
    )


def _count_given(connection: Connection, question_ids: set[int]) -> None:
    """Bring `given` of some questions up to date with their events."""
    people = select(func.count(func.distinct(EVENTS.c.annotator))).where(
        EVENTS.c.question_id == QUESTIONS.c.id
    )
    for some in _chunks(sorted(question_ids)):
        connection.execute(
            update(QUESTIONS).where(QUESTIONS.c.id.in_(some)).values(given=people.scalar_subquery())
        )


def _question(row: RowMapping) -> Question:
    return Question(**{name: row[name] for name in Question.__dataclass_fields__})


def _answer(row: RowMapping) -> Answer:
    return Answer(**{name: row[name] for name in Answer.__dataclass_fields__})


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + SQL_LIST] for start in range(0, len(items), SQL_LIST))
