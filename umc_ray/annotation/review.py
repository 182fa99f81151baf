"""Where people disagree, a reviewer decides; what was answered stays as it is."""

from collections import Counter
from dataclasses import dataclass

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import AnnotationStore, Answer, Question


@dataclass(frozen=True)
class Case:
    """A question for a reviewer: `agreement` is the share of the commonest answer, 0 to 1."""

    question: Question
    answers: tuple[Answer, ...]
    agreement: float


def review_queue(
    store: AnnotationStore, campaign: str, round: int | None = None, below: float = 1.0
) -> list[Case]:
    """Return the answered questions with less agreement that nobody decided, the worst first.

    A skip is an answer like any other: that half of the people cannot tell is a disagreement.
    """
    decided = decisions(store, campaign, round)
    answers: dict[SampleKey, list[Answer]] = {}
    for answer in store.answers(campaign, round):
        answers.setdefault(answer.key, []).append(answer)
    cases = []
    for question in store.questions(campaign, round):
        given = answers.get(question.key, [])
        if len(given) >= question.votes and question.key not in decided:
            counts = Counter(answer.label for answer in given)
            cases.append(Case(question, tuple(given), max(counts.values()) / len(given)))
    return sorted((case for case in cases if case.agreement < below), key=lambda c: c.agreement)


def decide(store: AnnotationStore, decision: Answer, client_key: str) -> None:
    """Keep a reviewer's label; `annotator` is the reviewer.

    Raises:
        StoreError: the question was never asked.
    """
    store.record_as("review", [decision], [client_key])


def decisions(
    store: AnnotationStore, campaign: str, round: int | None = None
) -> dict[SampleKey, Answer]:
    """Return the last decision on each question."""
    return {decision.key: decision for decision in store.events("review", campaign, round)}
