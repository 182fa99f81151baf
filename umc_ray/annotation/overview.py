"""All questions of a queue with what people said about them, and filters for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from umc_ray.annotation.assignments import open_assignments
from umc_ray.annotation.review import by_sample, decisions
from umc_ray.annotation.store import AnnotationStore, Answer, Question

State = Literal["open", "assigned", "answered", "disputed", "flagged", "noted", "decided"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class QuestionRecord:
    """A question with its effective answers, its remarks, and the decision of a reviewer."""

    question: Question
    answers: tuple[Answer, ...]
    flags: tuple[Answer, ...]
    notes: tuple[Answer, ...]
    decision: Answer | None
    assigned: str | None = None  # to whom

    @property
    def states(self) -> frozenset[State]:
        """All that is true of it."""
        is_true: dict[State, bool] = {
            "assigned": self.assigned is not None,
            "open": len(self.answers) < self.question.votes,
            "answered": len(self.answers) >= self.question.votes,
            "disputed": len({each.label for each in self.answers}) > 1,
            "flagged": bool(self.flags),
            "noted": bool(self.notes),
            "decided": self.decision is not None,
        }
        return frozenset(state for state, holds in is_true.items() if holds)

    @property
    def labels(self) -> frozenset[str]:
        """What was answered or decided; an empty text is a skip."""
        said = [*self.answers, *([self.decision] if self.decision else [])]
        return frozenset(each.label or "" for each in said)

    @property
    def people(self) -> frozenset[str]:
        """Who said something, or is to."""
        decided = [self.decision] if self.decision else []
        said = {each.annotator for each in (*self.answers, *self.flags, *self.notes, *decided)}
        return frozenset(said | ({self.assigned} if self.assigned else set()))


@dataclass(frozen=True)
class QuestionFilter:
    """Which questions are shown; an empty value, or 0, is no condition."""

    domain: str = ""  # task/domain
    label: str = ""
    person: str = ""
    state: str = ""
    round: int = 0

    def has(self, record: QuestionRecord) -> bool:
        """Return whether a question fits all conditions."""
        question = record.question
        return (
            self.domain in ("", f"{question.task}/{question.domain}")
            and (not self.label or self.label in record.labels)
            and (not self.person or self.person in record.people)
            and (not self.state or self.state in record.states)
            and self.round in (0, question.round)
        )


def question_records(store: AnnotationStore, queue: str) -> Sequence[QuestionRecord]:
    """Return all questions of a queue, without gold ones, in the order of the store."""
    answers = by_sample(store.answers(queue))
    flags, notes = (by_sample(store.events(kind, queue)) for kind in ("flag", "note"))
    decided, assigned = decisions(store, queue), open_assignments(store, queue)
    return [
        QuestionRecord(
            question,
            answers.get(question.key, ()),
            flags.get(question.key, ()),
            notes.get(question.key, ()),
            decided.get(question.key),
            assigned.get(question.key),
        )
        for question in store.questions(queue)
    ]
