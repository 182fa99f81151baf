"""Annotator statistics: speed, agreement, accuracy, and the influence of suggestions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.annotation.assignments import open_assignments
from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.people import (
    Pair,
    Ratio,
    agreement_with_others,
    median_seconds,
    worth,
)
from umc_ray.annotation.review import by_sample, decisions
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.annotation.votes import votes_of
from umc_ray.methods.consensus import krippendorff_alpha
from umc_ray.tasks.task import TaskKind

HOUR_S = 3600.0


@dataclass(frozen=True)
class AnnotatorStats:
    """Statistics of one annotator; `seconds` is the median time per answer.

    `agreement` is with the consensus of the other annotators of the same samples, `gold` what the
    answers to gold questions are worth: a utility of the task's kind, such as accuracy. `followed`
    and `unaided` are answers equal to the prediction where it was shown, and where it was not;
    `assigned` questions wait for this person.
    """

    name: str
    answers: int
    last_hour: int
    seconds: float | None
    skips: Ratio
    agreement: Ratio
    gold: Ratio
    followed: Ratio
    unaided: Ratio
    assigned: int

    @property
    def per_hour(self) -> float | None:
        """How many answers an hour of active work gives."""
        return HOUR_S / self.seconds if self.seconds else None


@dataclass(frozen=True)
class Anchoring:
    """How often answers match the model, with the suggestion shown or not.

    `accepted`: answers equal to the prediction; `right`: what answers are worth where the label is
    known. If `accepted` is much higher with the suggestion shown, people follow it too readily.
    """

    shown: bool
    accepted: Ratio
    right: Ratio


@dataclass(frozen=True)
class PeopleSummary:
    """Statistics of all annotators of a queue; `alphas` is Krippendorff's alpha of each task."""

    annotators: Sequence[AnnotatorStats]
    anchoring: Sequence[Anchoring]
    alphas: Mapping[str, float]


@dataclass(frozen=True)
class _Queue:
    """What the store knows of a queue; `gold` are answers with the known label."""

    answers: Sequence[Answer]
    gold: Sequence[tuple[Answer, str]]
    questions: Mapping[SampleKey, Question]
    kinds: Mapping[str, TaskKind]
    assigned: Counter[str]

    @property
    def real(self) -> list[Answer]:
        """The answers about samples that nobody made: the others suggest an answer always."""
        made = {key for key, each in self.questions.items() if each.payload.made is not None}
        return [each for each in self.answers if each.key not in made]

    @property
    def names(self) -> list[str]:
        """All who answered, or are to."""
        said = {each.annotator for each in [*self.answers, *(each for each, _ in self.gold)]}
        return sorted(said | self.assigned.keys())


def people_summary(
    store: AnnotationStore, queue: str, kinds: Mapping[str, TaskKind]
) -> PeopleSummary:
    """Compute the statistics of a queue; `kinds` are the kinds of the tasks."""
    questions = {question.key: question for question in store.questions(queue)}
    assigned = Counter(open_assignments(store, queue).values())
    found = _Queue(store.answers(queue), store.gold_answers(queue), questions, kinds, assigned)
    truth = {key: decision.label for key, decision in decisions(store, queue).items()}
    samples = by_sample(found.answers)
    return PeopleSummary(
        annotators=[_stats(name, found, samples, store.clock()) for name in found.names],
        anchoring=[_anchoring(shown, found, truth) for shown in (True, False)],
        alphas={
            task: _alpha([each for each in found.answers if each.task == task], kind)
            for task, kind in kinds.items()
        },
    )


def _stats(
    name: str, found: _Queue, samples: Mapping[SampleKey, Sequence[Answer]], now: float
) -> AnnotatorStats:
    own = [answer for answer in found.answers if answer.annotator == name]
    gold = [(each.task, each.label, label) for each, label in found.gold if each.annotator == name]
    real = [answer for answer in found.real if answer.annotator == name]
    return AnnotatorStats(
        name=name,
        answers=len(own),
        last_hour=sum((answer.submitted_at or 0.0) > now - HOUR_S for answer in own),
        seconds=median_seconds(own),
        skips=Ratio(sum(answer.label is None for answer in own), len(own)),
        agreement=agreement_with_others(own, samples, found.kinds),
        gold=worth(gold, found.kinds),
        followed=_as_predicted(real, True, found.questions),
        unaided=_as_predicted(real, False, found.questions),
        assigned=found.assigned[name],
    )


def _anchoring(shown: bool, found: _Queue, truth: Mapping[SampleKey, str | None]) -> Anchoring:
    """Compare answers with predictions, and with gold labels and reviewers' decisions."""
    real = [each for each in found.real if each.seen is shown and each.label is not None]
    known: list[Pair] = [
        (a.task, a.label, label) for a in real if (label := truth.get(a.key)) is not None
    ]
    known += [(a.task, a.label, label) for a, label in found.gold if a.seen is shown]
    accepted = _as_predicted(real, shown, found.questions)
    return Anchoring(shown, accepted, worth(known, found.kinds))


def _as_predicted(
    answers: Sequence[Answer], shown: bool, questions: Mapping[SampleKey, Question]
) -> Ratio:
    """Return how many answers are what the model predicted, by whether that was shown."""
    labeled = [answer for answer in answers if answer.seen is shown and answer.label is not None]
    pairs = [(a.label, questions[a.key].payload.predicted) for a in labeled]
    predicted = [(label, prediction) for label, prediction in pairs if prediction is not None]
    return Ratio(sum(label == prediction for label, prediction in predicted), len(predicted))


def _alpha(answers: Sequence[Answer], kind: TaskKind) -> float:
    """Return Krippendorff's alpha of a task's answers; NaN if it is undefined."""
    votes = votes_of(answers)
    texts = sorted(set(votes.text_V))
    number = {text: i for i, text in enumerate(texts)}
    label_V = np.array([number[text] for text in votes.text_V], dtype=np.int64)
    rows = [1 - kind.utility([text] * len(texts), texts) for text in texts]
    distance_CC = np.array(rows, dtype=np.float64).reshape(len(texts), len(texts))
    return krippendorff_alpha(votes.sample_V, votes.person_V, label_V, len(texts), distance_CC)
