"""Where people disagree or flag a sample, a reviewer decides; answers stay as they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import AnnotationStore, Answer, Question


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
    store: AnnotationStore, campaign: str, round: int | None = None, below: float = 1.0
) -> list[Case]:
    """Return the answered questions with less agreement or a flag that nobody decided.

    The one with least agreement comes first. A skip is an answer like any other: that half of the
    people cannot tell is a disagreement.
    """
    decided = decisions(store, campaign, round)
    answers = by_sample(store.answers(campaign, round))
    flags, notes = (by_sample(store.events(kind, campaign, round)) for kind in ("flag", "note"))
    cases = []
    for question in store.questions(campaign, round):
        key, given = question.key, answers.get(question.key, ())
        is_withdrawn = not question.votes  # its sample is forgotten
        if len(given) >= question.votes and not is_withdrawn and key not in decided:
            counts = Counter(answer.label for answer in given)
            share = max(counts.values()) / len(given)
            cases.append(Case(question, given, share, flags.get(key, ()), notes.get(key, ())))
    open_cases = [case for case in cases if case.agreement < below or case.flags]
    return sorted(open_cases, key=lambda case: case.agreement)


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


def decisions(
    store: AnnotationStore, campaign: str, round: int | None = None
) -> dict[SampleKey, Answer]:
    """Return the last decision on each question."""
    return {decision.key: decision for decision in store.events("review", campaign, round)}
