"""Annotator statistics: speed, agreement, accuracy, and the influence of suggestions."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.review import decisions
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.annotation.votes import votes_of
from umc_ray.methods.consensus import krippendorff_alpha
from umc_ray.tasks.task import TaskKind, Votes

HOUR_S = 3600.0
Pair = tuple[str, str | None, str]
"""A task, an answer or None for a skip, and the answer to compare it with."""


@dataclass(frozen=True)
class Ratio:
    """A share of a total; what is partly right counts in part."""

    count: float
    total: int

    def __str__(self) -> str:
        """Return the percentage and the total, or a dash if the total is 0."""
        return f"{self.count / self.total:.0%} of {self.total}" if self.total else "–"


@dataclass(frozen=True)
class AnnotatorStats:
    """Statistics of one annotator; `seconds` is the median time per answer.

    `agreement` is with the consensus of the other annotators of the same samples, `gold` what the
    answers to gold questions are worth: a utility of the task's kind, such as accuracy.
    """

    name: str
    answers: int
    last_hour: int
    seconds: float | None
    skips: Ratio
    agreement: Ratio
    gold: Ratio


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


def people_summary(
    store: AnnotationStore, queue: str, kinds: Mapping[str, TaskKind]
) -> PeopleSummary:
    """Compute the statistics of a queue; `kinds` are the kinds of the tasks."""
    answers = store.answers(queue)
    gold = store.gold_answers(queue)
    questions = {question.key: question for question in store.questions(queue)}
    real = [each for each in answers if not _is_synthetic(questions.get(each.key))]
    truth = {key: decision.label for key, decision in decisions(store, queue).items()}
    by_sample: dict[SampleKey, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_sample[answer.key].append(answer)
    names = sorted({answer.annotator for answer in [*answers, *(each for each, _ in gold)]})
    return PeopleSummary(
        annotators=[_stats(name, answers, by_sample, gold, kinds, store.clock()) for name in names],
        anchoring=[
            _anchoring(shown, real, gold, questions, truth, kinds) for shown in (True, False)
        ],
        alphas={
            task: _alpha([each for each in answers if each.task == task], kind)
            for task, kind in kinds.items()
        },
    )


def _is_synthetic(question: Question | None) -> bool:
    return question is not None and question.payload.made is not None


def _stats(
    name: str,
    answers: Sequence[Answer],
    by_sample: Mapping[SampleKey, Sequence[Answer]],
    gold: Sequence[tuple[Answer, str]],
    kinds: Mapping[str, TaskKind],
    now: float,
) -> AnnotatorStats:
    own = [answer for answer in answers if answer.annotator == name]
    seconds = [answer.seconds for answer in own if answer.seconds is not None]
    return AnnotatorStats(
        name=name,
        answers=len(own),
        last_hour=sum((answer.submitted_at or 0.0) > now - HOUR_S for answer in own),
        seconds=statistics.median(seconds) if seconds else None,
        skips=Ratio(sum(answer.label is None for answer in own), len(own)),
        agreement=_agreement(own, by_sample, kinds),
        gold=_worth(
            [(each.task, each.label, label) for each, label in gold if each.annotator == name],
            kinds,
        ),
    )


def _agreement(
    answers: Sequence[Answer],
    by_sample: Mapping[SampleKey, Sequence[Answer]],
    kinds: Mapping[str, TaskKind],
) -> Ratio:
    """Compare one annotator's answers with the consensus of the others."""
    pairs: list[Pair] = []
    for task, kind in kinds.items():
        own = [each for each in answers if each.task == task and each.label is not None]
        others = kind.consensus(_votes_of_others(own, by_sample))
        pairs += [(task, own[i].label, label) for i, label in others.items()]
    return _worth(pairs, kinds)


def _votes_of_others(
    answers: Sequence[Answer], by_sample: Mapping[SampleKey, Sequence[Answer]]
) -> Votes:
    """Return the others' votes on the samples of answers; a sample is numbered as its answer."""
    given = [
        (i, other.label)
        for i, answer in enumerate(answers)
        for other in by_sample[answer.key]
        if other.annotator != answer.annotator and other.label is not None
    ]
    return Votes(
        sample_V=np.array([i for i, _ in given], dtype=np.int64),
        person_V=np.arange(len(given)),  # the store keeps one answer of a person
        text_V=tuple(label for _, label in given),
    )


def _anchoring(
    shown: bool,
    answers: Sequence[Answer],
    gold: Sequence[tuple[Answer, str]],
    questions: Mapping[SampleKey, Question],
    truth: Mapping[SampleKey, str | None],
    kinds: Mapping[str, TaskKind],
) -> Anchoring:
    """Compare answers with predictions, and with gold labels and reviewers' decisions."""
    labeled = [answer for answer in answers if answer.seen is shown and answer.label is not None]
    pairs = [(a.label, questions[a.key].payload.predicted) for a in labeled]
    predicted = [(label, prediction) for label, prediction in pairs if prediction is not None]
    known: list[Pair] = [
        (a.task, a.label, label) for a in labeled if (label := truth.get(a.key)) is not None
    ]
    known += [(a.task, a.label, label) for a, label in gold if a.seen is shown]
    accepted = sum(label == prediction for label, prediction in predicted)
    return Anchoring(shown, Ratio(accepted, len(predicted)), _worth(known, kinds))


def _worth(pairs: Sequence[Pair], kinds: Mapping[str, TaskKind]) -> Ratio:
    """Return the utility of answers by what they are compared with; a skip is worth nothing."""
    total = 0.0
    for task, kind in kinds.items():
        answers = [answer for name, answer, _ in pairs if name == task and answer is not None]
        known = [label for name, answer, label in pairs if name == task and answer is not None]
        total += float(kind.utility(answers, known).sum())
    return Ratio(total, len(pairs))


def _alpha(answers: Sequence[Answer], kind: TaskKind) -> float:
    """Return Krippendorff's alpha of a task's answers; NaN if it is undefined."""
    votes = votes_of(answers)
    texts = sorted(set(votes.text_V))
    number = {text: i for i, text in enumerate(texts)}
    label_V = np.array([number[text] for text in votes.text_V], dtype=np.int64)
    rows = [1 - kind.utility([text] * len(texts), texts) for text in texts]
    distance_CC = np.array(rows, dtype=np.float64).reshape(len(texts), len(texts))
    return krippendorff_alpha(votes.sample_V, votes.person_V, label_V, len(texts), distance_CC)
