"""What every way of getting answers has in common, and how a round waits for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.review import review_queue
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.annotation.votes import ask_again
from umc_ray.errors import AwaitingAnnotations
from umc_ray.records import DomainKey, Part
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind


@dataclass(frozen=True)
class AnnotationBackend(ABC):
    """Where people, or recorded people, answer for a campaign.

    `kinds` are the kinds of the tasks, by task, and `pairs` what the two texts of their samples
    are called, where samples are pairs.
    """

    store: AnnotationStore
    campaign: str
    storage: Storage
    parts: Sequence[Part]
    kinds: Mapping[str, TaskKind]
    pairs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def submit(self, questions: Sequence[Question]) -> None:
        """Ask; asking the same again changes nothing."""
        self.store.submit(questions)

    def collect(self, round: int) -> list[Answer]:
        """Return the answers so far to a round's questions."""
        return self.store.answers(self.campaign, round)

    def look_again(self, rounds: int) -> None:
        """Take over what people changed about the first rounds, which are closed."""
        return None

    @abstractmethod
    def hint(self, round: int) -> str:
        """Say what people have to do next."""


def collect_all(
    backend: AnnotationBackend,
    round: int,
    review: bool = False,
    max_votes: int | None = None,
    spot_check: float = 0.0,
) -> list[Answer]:
    """Return all answers to a round's questions.

    Args:
        backend: where people answer.
        round: its number.
        review: wait until reviewers decided where people disagree, too.
        max_votes: ask for more answers, up to so many, where those that came leave a label open.
        spot_check: share of the questions that reviewers decide whatever the answers.

    Raises:
        Waiting: some are missing; says how many, and what people have to do.
    """
    store, campaign = backend.store, backend.campaign
    while True:
        answers = backend.collect(round)
        answered, asked = store.progress(campaign, round)
        if answered < asked:
            raise AwaitingAnnotations(
                f"round {round}: {answered} of {asked} answered; {backend.hint(round)}"
            )
        if not max_votes or not ask_again(store, campaign, round, backend.kinds, max_votes):
            break
    kinds = backend.kinds
    cases = review_queue(store, campaign, round, 1.0, spot_check, kinds) if review else []
    disputed = len(cases)
    if disputed:
        raise AwaitingAnnotations(
            f"round {round}: reviewers must decide {disputed} of {asked} questions"
        )
    return answers


def sample_rows(
    storage: Storage,
    parts: Iterable[Part],
    questions: Sequence[Question],
    table: str,
    columns: list[str] | None = None,
) -> dict[SampleKey, dict[str, Any]]:
    """Read the rows of the asked samples, and no others, from a table such as pool or oracle.

    Synthetic samples may have no oracle. `columns`: other ones than all; sample_id is among them.
    """
    missing: dict[DomainKey, dict[int, Question]] = {}
    for question in questions:
        missing.setdefault(DomainKey(question.task, question.domain), {})[question.sample_id] = (
            question
        )
    found = {}
    for part in parts:
        asked = missing.get(part.domain_key)
        if asked and _has(storage, part, table):
            only = [("sample_id", "in", list(asked))]
            for row in storage.read_table(part.key(table), columns, filters=only).to_pylist():
                found[asked.pop(row["sample_id"]).key] = row
    return found


def marked_texts(
    storage: Storage,
    parts: Iterable[Part],
    questions: Sequence[Question],
    kinds: Mapping[str, TaskKind],
) -> dict[SampleKey, str]:
    """Return the texts of the questions that ask to mark a piece of theirs; reads no others."""
    marking = [each for each in questions if kinds[each.task].form().marks_text]
    rows = sample_rows(storage, parts, marking, "pool") if marking else {}
    return {key: row["text"] for key, row in rows.items()}


def _has(storage: Storage, part: Part, table: str) -> bool:
    """Whether people can be asked about a part, and it has a table: a pool has each."""
    if part.split == "synthetic":
        return storage.exists(part.key(table))
    return part.split == "pool"
