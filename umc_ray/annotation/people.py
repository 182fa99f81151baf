"""What each person did for a campaign: answers, time, agreement with the others, and cost."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.review import by_sample
from umc_ray.annotation.store import Answer
from umc_ray.records import DomainKey
from umc_ray.tasks.task import TaskKind, Votes

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
class PersonWork:
    """What one person did; `seconds` is the median time per answer, None if none was timed.

    `agreement` is with the consensus of the others about the same samples.
    """

    answers: int
    skips: int
    seconds: float | None
    agreement: Ratio
    cost: float


def work_of_people(
    answers: Sequence[Answer], kinds: Mapping[str, TaskKind], costs: Mapping[DomainKey, float]
) -> dict[str, PersonWork]:
    """Return what each person did, by name.

    Args:
        answers: that count, of a campaign.
        kinds: of the tasks.
        costs: of one answer, by domain; domains that are not there are left out.
    """
    given = [each for each in answers if DomainKey(each.task, each.domain) in costs]
    samples = by_sample(given)
    return {
        name: _work([each for each in given if each.annotator == name], samples, kinds, costs)
        for name in sorted({each.annotator for each in given})
    }


def _work(
    own: Sequence[Answer],
    samples: Mapping[SampleKey, Sequence[Answer]],
    kinds: Mapping[str, TaskKind],
    costs: Mapping[DomainKey, float],
) -> PersonWork:
    return PersonWork(
        answers=len(own),
        skips=sum(each.label is None for each in own),
        seconds=median_seconds(own),
        agreement=agreement_with_others(own, samples, kinds),
        cost=sum(costs[DomainKey(each.task, each.domain)] for each in own),
    )


def median_seconds(answers: Sequence[Answer]) -> float | None:
    """Return the median working time of an answer; None if none was timed."""
    seconds = [answer.seconds for answer in answers if answer.seconds is not None]
    return statistics.median(seconds) if seconds else None


def agreement_with_others(
    answers: Sequence[Answer],
    samples: Mapping[SampleKey, Sequence[Answer]],
    kinds: Mapping[str, TaskKind],
) -> Ratio:
    """Compare one person's answers with the consensus of the others."""
    pairs: list[Pair] = []
    for task, kind in kinds.items():
        own = [each for each in answers if each.task == task and each.label is not None]
        others = kind.consensus(_votes_of_others(own, samples))
        pairs += [(task, own[i].label, label) for i, label in others.items()]
    return worth(pairs, kinds)


def _votes_of_others(
    answers: Sequence[Answer], samples: Mapping[SampleKey, Sequence[Answer]]
) -> Votes:
    """Return the others' votes on the samples of answers; a sample is numbered as its answer."""
    given = [
        (i, other.label)
        for i, answer in enumerate(answers)
        for other in samples[answer.key]
        if other.annotator != answer.annotator and other.label is not None
    ]
    return Votes(
        sample_V=np.array([i for i, _ in given], dtype=np.int64),
        person_V=np.arange(len(given)),  # the store keeps one answer of a person
        text_V=tuple(label for _, label in given),
    )


def worth(pairs: Sequence[Pair], kinds: Mapping[str, TaskKind]) -> Ratio:
    """Return the utility of answers by what they are compared with; a skip is worth nothing."""
    total = 0.0
    for task, kind in kinds.items():
        answers = [answer for name, answer, _ in pairs if name == task and answer is not None]
        known = [label for name, answer, label in pairs if name == task and answer is not None]
        total += float(kind.utility(answers, known).sum())
    return Ratio(total, len(pairs))
