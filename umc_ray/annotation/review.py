"""Where people disagree or flag a sample, a reviewer decides; answers stay as they are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.annotation.votes import NO_KINDS, votes_of
from umc_ray.errors import StoreError
from umc_ray.methods.identity import uniform
from umc_ray.tasks.task import TaskKind

SPOT_CHECK = "spot check"


@dataclass(frozen=True)
class Case:
    """A question for a reviewer: `agreement` is the share of the commonest answer, 0 to 1.

    Remarks are flags, then notes; their text is the reason.
    """

    question: Question
    answers: tuple[Answer, ...]
    agreement: float
    flags: tuple[Answer, ...] = ()
    notes: tuple[Answer, ...] = ()


def review_queue(
    store: AnnotationStore,
    campaign: str,
    round: int | None = None,
    below: float = 1.0,
    spot_check: float = 0.0,
    kinds: Mapping[str, TaskKind] = NO_KINDS,
) -> list[Case]:
    """Return the answered questions with less agreement or a flag that nobody decided.

    The one with least agreement comes first. A skip is an answer like any other: that half of the
    people cannot tell is a disagreement. A random share of all questions, `spot_check`, comes up
    too, so that reviewers also see what nobody doubts. Where answers are seldom equal, by the form
    of a task's kind, only those agree less that are tied.
    """
    decided = decisions(store, campaign, round)
    answers = by_sample(store.answers(campaign, round))
    flags, notes = (by_sample(store.events(kind, campaign, round)) for kind in ("flag", "note"))
    cases = []
    for question in store.questions(campaign, round):
        key, given = question.key, answers.get(question.key, ())
        is_withdrawn = not question.votes  # its sample is forgotten
        if len(given) >= question.votes and not is_withdrawn and key not in decided:
            share = _agreement(given, kinds.get(question.task))
            cases.append(Case(question, given, share, flags.get(key, ()), notes.get(key, ())))
    draws = uniform(np.array([case.question.sample_id for case in cases], np.int64), 0, SPOT_CHECK)
    open_cases = [
        case
        for case, draw in zip(cases, draws, strict=True)
        if case.agreement < below or case.flags or draw < spot_check
    ]
    return sorted(open_cases, key=lambda case: case.agreement)


def _agreement(answers: Sequence[Answer], kind: TaskKind | None) -> float:
    """Return the share of the commonest answer, or 1 where one of several texts is the middle."""
    counts = Counter(answer.label for answer in answers)
    has_middle = (
        kind is not None
        and kind.form().seldom_equal
        and None not in counts
        and not kind.tied(votes_of(answers))
    )
    return 1.0 if has_middle else max(counts.values()) / len(answers)


def by_sample(events: Sequence[Answer]) -> dict[SampleKey, tuple[Answer, ...]]:
    """Return what was said about each sample, in its order."""
    found: dict[SampleKey, list[Answer]] = {}
    for event in events:
        found.setdefault(event.key, []).append(event)
    return {key: tuple(said) for key, said in found.items()}


def decide(store: AnnotationStore, decision: Answer, client_key: str) -> None:
    """Keep a reviewer's label; `annotator` is the reviewer.

    Raises:
        StoreError: the question was never asked.
    """
    store.record_as("review", [decision], [client_key])


def reopen(store: AnnotationStore, event: Answer, client_key: str) -> None:
    """Take back the decision of a reviewer, who is its `annotator`.

    Raises:
        StoreError: the question was never asked.
    """
    store.record_as("reopen", [event], [client_key])


def ask_one_more(store: AnnotationStore, event: Answer, client_key: str) -> None:
    """Ask one more person, because the answers do not suffice to decide; once per client key.

    Raises:
        StoreError: the question was never asked, or its round is closed.
    """
    question = store.question(event.key)
    if question is None or question.round != store.current_round(question.campaign):
        raise StoreError(
            f"nobody else can be asked about sample {event.sample_id} of task {event.task}: its "
            "round is closed"
        )
    if store.record_as("reask", [event], [client_key]):
        store.raise_votes([question], question.votes + 1)


def decisions(
    store: AnnotationStore, campaign: str, round: int | None = None
) -> dict[SampleKey, Answer]:
    """Return the last decision on each question."""
    return {decision.key: decision for decision in store.events("review", campaign, round)}
