"""How good people find synthetic samples, from 1 to 5: a remark beside an answer, if they like."""

from dataclasses import replace

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.records import SCORES

RATING = "rating"
"""The kind of the event; its reason is one of SCORES."""


def rated(question: Question, annotator: str, score: str) -> Answer:
    """Return the event that says what a person thinks of a synthetic sample."""
    return replace(question.answered(annotator, None), reason=score)


def ratings(store: AnnotationStore, campaign: str) -> dict[tuple[SampleKey, str], int]:
    """Return the last score of each person for each sample."""
    events = store.events(RATING, campaign)
    return {(each.key, each.annotator): int(each.reason or 0) for each in events}


def change_key(event: Answer, before: int | None) -> str:
    """Name a change of a score, so that two readers of one sheet make it once."""
    person = f"{event.campaign}/{event.task}/{event.sample_id}/{event.annotator}"
    return f"{RATING}/{person}/{before or ''}-{event.reason}"


def said(event: Answer) -> Answer:
    """Return a score as a note that says so."""
    return replace(event, reason=f"quality {event.reason} of {SCORES[-1]}")
