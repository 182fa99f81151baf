"""Recorded people: known labels and ratings answer instead of new ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from umc_ray.annotation.backends.backend import AnnotationBackend, sample_rows
from umc_ray.annotation.store import Answer, Question
from umc_ray.tasks.task import TaskKind

COMMIT = 50  # answers per transaction: what a kill can make it say again


class ReplayAnnotator(AnnotationBackend):
    """Answers from the oracle tables: the k-th vote on a sample is its k-th recorded rating.

    It gives the same answers in the same order whenever it runs, however often it is killed.
    """

    def collect(self, round: int) -> list[Answer]:
        """Answer what is open in a round, and return all its answers."""
        questions = self.store.open_questions(self.campaign, round)
        oracle = sample_rows(self.storage, self.parts, questions, "oracle")
        answers = [
            answer
            for question in questions
            for answer in recorded_answers(
                question, oracle.get(question.key), self.kinds[question.task]
            )
        ]
        for start in range(0, len(answers), COMMIT):
            some = answers[start : start + COMMIT]
            self.store.record(some, [_client_key(answer) for answer in some])
        return self.store.answers(self.campaign, round)

    def hint(self, round: int) -> str:
        """Say what people have to do next."""
        return "the replay answers by itself: run again"


def recorded_answers(
    question: Question, known: Mapping[str, Any] | None, kind: TaskKind
) -> list[Answer]:
    """Return one answer per vote: recorded ratings in their order, else the known label.

    The task's kind says what a rating means.
    """
    ratings: Sequence[int] | None = known["ratings"] if known else None
    gold: str | None = known["label"] if known else None
    answers = []
    for vote in range(1, question.votes + 1):
        annotator = f"rater-{vote}" if ratings else "gold" if vote == 1 else f"gold-{vote}"
        reason = None if gold else "no known answer"
        answer = replace(question.answered(annotator, gold), reason=reason)
        answers.append(_rated(answer, ratings, vote, kind) if ratings else answer)
    return answers


def _rated(answer: Answer, ratings: Sequence[int], vote: int, kind: TaskKind) -> Answer:
    if vote > len(ratings):
        return replace(answer, label=None, reason=f"only {len(ratings)} ratings are recorded")
    label = kind.of_rating(ratings[vote - 1])
    return replace(answer, label=label, reason=None if label else "rated neutral")


def _client_key(answer: Answer) -> str:
    return f"replay/{answer.campaign}/{answer.task}/{answer.sample_id}/{answer.annotator}"
