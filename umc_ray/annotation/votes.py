"""Votes one by one: another is asked for where those that were given leave a label open."""

from collections.abc import Mapping, Sequence

import numpy as np

from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.methods.consensus import one_rate
from umc_ray.records import IntArray

SURE = 0.95
"""How probable a label must be to stand; benchmarks/consensus.py tells what that costs."""


def ask_again(
    store: AnnotationStore,
    campaign: str,
    round: int,
    labels: Mapping[str, Sequence[str]],
    max_votes: int,
) -> int:
    """Ask for another answer, up to `max_votes`, where a label is open; return for how many."""
    questions, answers = store.questions(campaign, round), store.answers(campaign, round)
    asked: list[Question] = []
    for task, classes in labels.items():
        settled = _settled([a for a in answers if a.task == task], classes)
        asked += [q for q in questions if q.task == task and q.sample_id not in settled]
    asked = [question for question in asked if question.votes < max_votes]
    for votes in {question.votes for question in asked}:
        store.raise_votes([each for each in asked if each.votes == votes], votes + 1)
    return len(asked)


def _settled(answers: Sequence[Answer], classes: Sequence[str]) -> set[int]:
    """Return the samples whose label is sure; what all skipped has none."""
    found = one_rate(*vote_arrays(answers, classes), len(classes))
    return set(found.item_N[found.agreement_N >= SURE].tolist())


def vote_arrays(
    answers: Sequence[Answer], classes: Sequence[str]
) -> tuple[IntArray, IntArray, IntArray]:
    """Return sample, person and class of each answer to a task, as consensus.py takes them.

    Skips are no votes. Persons are numbered by name.
    """
    given = [(each, each.label) for each in answers if each.label is not None]
    people = {name: i for i, name in enumerate(sorted({each.annotator for each, _ in given}))}
    return (
        np.array([each.sample_id for each, _ in given], dtype=np.int64),
        np.array([people[each.annotator] for each, _ in given], dtype=np.int64),
        np.array([classes.index(label) for _, label in given], dtype=np.int64),
    )
