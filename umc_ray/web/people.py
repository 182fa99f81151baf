"""Annotator statistics: speed, agreement, accuracy, and the influence of suggestions."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.review import decisions
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.annotation.votes import vote_arrays
from umc_ray.methods.consensus import krippendorff_alpha

HOUR_S = 3600.0
Item = TypeVar("Item")


@dataclass(frozen=True)
class Ratio:
    """A share of a total."""

    count: int
    total: int

    def __str__(self) -> str:
        """Return the percentage and the total, or a dash if the total is 0."""
        return f"{self.count / self.total:.0%} of {self.total}" if self.total else "–"


@dataclass(frozen=True)
class AnnotatorStats:
    """Statistics of one annotator; `seconds` is the median time per answer.

    `agreement` is with the majority of the other annotators of the same samples, `gold` the
    accuracy on gold questions.
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

    `accepted`: answers equal to the prediction; `right`: answers equal to a known label. If
    `accepted` is much higher with the suggestion shown, people follow it too readily.
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
    store: AnnotationStore, queue: str, labels: Mapping[str, Sequence[str]]
) -> PeopleSummary:
    """Compute the statistics of a queue; `labels` is the label set of each task."""
    answers = store.answers(queue)
    gold = store.gold_answers(queue)
    questions = {question.key: question for question in store.questions(queue)}
    truth = {key: decision.label for key, decision in decisions(store, queue).items()}
    by_sample: dict[SampleKey, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_sample[answer.key].append(answer)
    names = sorted({answer.annotator for answer in [*answers, *(each for each, _ in gold)]})
    return PeopleSummary(
        annotators=[_stats(name, answers, by_sample, gold, store.clock()) for name in names],
        anchoring=[_anchoring(shown, answers, gold, questions, truth) for shown in (True, False)],
        alphas={task: _alpha(answers, task, classes) for task, classes in labels.items()},
    )


def _stats(
    name: str,
    answers: Sequence[Answer],
    by_sample: Mapping[SampleKey, Sequence[Answer]],
    gold: Sequence[tuple[Answer, str]],
    now: float,
) -> AnnotatorStats:
    own = [answer for answer in answers if answer.annotator == name]
    seconds = [answer.seconds for answer in own if answer.seconds is not None]
    return AnnotatorStats(
        name=name,
        answers=len(own),
        last_hour=sum((answer.submitted_at or 0.0) > now - HOUR_S for answer in own),
        seconds=statistics.median(seconds) if seconds else None,
        skips=_ratio(own, lambda answer: answer.label is None),
        agreement=_agreement(own, by_sample),
        gold=_ratio(
            [(answer.label, label) for answer, label in gold if answer.annotator == name],
            lambda pair: pair[0] == pair[1],
        ),
    )


def _agreement(answers: Sequence[Answer], by_sample: Mapping[SampleKey, Sequence[Answer]]) -> Ratio:
    """Compare one annotator's answers with the majority of the others."""
    agree = []
    for answer in answers:
        labels = [
            each.label
            for each in by_sample[answer.key]
            if each.annotator != answer.annotator and each.label
        ]
        if labels and answer.label:
            agree.append(answer.label == Counter(labels).most_common(1)[0][0])
    return Ratio(sum(agree), len(agree))


def _anchoring(
    shown: bool,
    answers: Sequence[Answer],
    gold: Sequence[tuple[Answer, str]],
    questions: Mapping[SampleKey, Question],
    truth: Mapping[SampleKey, str | None],
) -> Anchoring:
    """Compare answers with predictions, and with gold labels and reviewers' decisions."""
    labeled = [answer for answer in answers if answer.seen is shown and answer.label is not None]
    pairs = [(a.label, questions[a.key].payload.get("predicted")) for a in labeled]
    predicted = [(label, prediction) for label, prediction in pairs if prediction is not None]
    known = [(a.label, truth[a.key]) for a in labeled if truth.get(a.key) is not None]
    known += [(answer.label, label) for answer, label in gold if answer.seen is shown]
    return Anchoring(
        shown=shown,
        accepted=_ratio(predicted, lambda pair: pair[0] == pair[1]),
        right=_ratio(known, lambda pair: pair[0] == pair[1]),
    )


def _ratio(items: Sequence[Item], holds: Callable[[Item], bool]) -> Ratio:
    return Ratio(sum(map(holds, items)), len(items))


def _alpha(answers: Sequence[Answer], task: str, labels: Sequence[str]) -> float:
    """Return Krippendorff's alpha of a task; NaN if it is undefined."""
    labeled = [answer for answer in answers if answer.task == task and answer.label in labels]
    return krippendorff_alpha(*vote_arrays(labeled, labels), len(labels))
