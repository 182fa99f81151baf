"""How people work, and whether the model's suggestions help or lead them astray."""

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
    """Of `of` things, `part` are so."""

    part: int
    of: int

    def __str__(self) -> str:
        """Write it as percentage with its base."""
        return f"{self.part / self.of:.0%} of {self.of}" if self.of else "–"


@dataclass(frozen=True)
class Work:
    """What one person did; agreement is with most of the others, on samples they share."""

    name: str
    answers: int
    last_hour: int
    seconds: float | None
    skips: Ratio
    agreement: Ratio
    gold: Ratio


@dataclass(frozen=True)
class Anchoring:
    """Answers with the suggestion on the screen, or without it: if they differ, it leads people."""

    shown: bool
    accepted: Ratio
    right: Ratio


@dataclass(frozen=True)
class People:
    """Everybody's work in one queue."""

    work: Sequence[Work]
    anchoring: Sequence[Anchoring]
    alphas: Mapping[str, float]


def people(store: AnnotationStore, queue: str, labels: Mapping[str, Sequence[str]]) -> People:
    """Sum up a queue; `labels` is the label set of each task."""
    answers = store.answers(queue)
    gold = store.gold_answers(queue)
    questions = {question.key: question for question in store.questions(queue)}
    truth = {key: decision.label for key, decision in decisions(store, queue).items()}
    by_sample: dict[SampleKey, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_sample[answer.key].append(answer)
    names = sorted({answer.annotator for answer in [*answers, *(each for each, _ in gold)]})
    return People(
        work=[_work(name, answers, by_sample, gold, store.clock()) for name in names],
        anchoring=[_anchoring(shown, answers, gold, questions, truth) for shown in (True, False)],
        alphas={task: _alpha(answers, task, classes) for task, classes in labels.items()},
    )


def _work(
    name: str,
    answers: Sequence[Answer],
    by_sample: Mapping[SampleKey, Sequence[Answer]],
    gold: Sequence[tuple[Answer, str]],
    now: float,
) -> Work:
    mine = [answer for answer in answers if answer.annotator == name]
    seconds = [answer.seconds for answer in mine if answer.seconds is not None]
    agree = []
    for answer in mine:
        others = [o.label for o in by_sample[answer.key] if o.annotator != name and o.label]
        if others and answer.label:
            agree.append(answer.label == Counter(others).most_common(1)[0][0])
    known = [answer.label == label for answer, label in gold if answer.annotator == name]
    return Work(
        name=name,
        answers=len(mine),
        last_hour=sum((answer.submitted_at or 0.0) > now - HOUR_S for answer in mine),
        seconds=statistics.median(seconds) if seconds else None,
        skips=_share(mine, lambda answer: answer.label is None),
        agreement=Ratio(sum(agree), len(agree)),
        gold=Ratio(sum(known), len(known)),
    )


def _anchoring(
    shown: bool,
    answers: Sequence[Answer],
    gold: Sequence[tuple[Answer, str]],
    questions: Mapping[SampleKey, Question],
    truth: Mapping[SampleKey, str | None],
) -> Anchoring:
    """Compare answers with what the model said, and with gold labels and reviewers' decisions."""
    mine = [answer for answer in answers if answer.seen is shown and answer.label is not None]
    told = [(a.label, questions[a.key].payload.get("predicted")) for a in mine]
    known = [(a.label, truth[a.key]) for a in mine if truth.get(a.key) is not None]
    known += [(answer.label, label) for answer, label in gold if answer.seen is shown]
    predicted = [(label, model) for label, model in told if model is not None]
    return Anchoring(
        shown=shown,
        accepted=_share(predicted, lambda pair: pair[0] == pair[1]),
        right=_share(known, lambda pair: pair[0] == pair[1]),
    )


def _share(items: Sequence[Item], holds: Callable[[Item], bool]) -> Ratio:
    return Ratio(sum(map(holds, items)), len(items))


def _alpha(answers: Sequence[Answer], task: str, labels: Sequence[str]) -> float:
    """Return how far people agree on a task; NaN where nothing can be said."""
    mine = [answer for answer in answers if answer.task == task and answer.label in labels]
    return krippendorff_alpha(*vote_arrays(mine, labels), len(labels))
