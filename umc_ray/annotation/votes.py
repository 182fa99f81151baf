"""The answers to a task as votes, and where another vote is needed."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.tasks.task import TaskKind, Votes

SURE = 0.95
"""How probable a label must be to stand; benchmarks/consensus.py tells what that costs."""

NO_KINDS: Mapping[str, TaskKind] = MappingProxyType({})


def ask_again(
    store: AnnotationStore,
    campaign: str,
    round: int,
    kinds: Mapping[str, TaskKind],
    max_votes: int,
) -> int:
    """Ask for one more answer where votes leave a label open; returns for how many samples.

    A sample never gets more than `max_votes` answers.
    """
    questions, answers = store.questions(campaign, round), store.answers(campaign, round)
    unsettled: list[Question] = []
    for task, kind in kinds.items():
        settled = kind.settled(votes_of([a for a in answers if a.task == task]), SURE)
        unsettled += [q for q in questions if q.task == task and q.sample_id not in settled]
    unsettled = [question for question in unsettled if question.votes < max_votes]
    for votes in {question.votes for question in unsettled}:
        store.raise_votes([each for each in unsettled if each.votes == votes], votes + 1)
    return len(unsettled)


def votes_of(answers: Sequence[Answer]) -> Votes:
    """Return the votes in answers to one task; skips are no votes, people are numbered by name."""
    given = [(answer, answer.label) for answer in answers if answer.label is not None]
    names = sorted({answer.annotator for answer, _ in given})
    people = {name: number for number, name in enumerate(names)}
    return Votes(
        sample_V=np.array([answer.sample_id for answer, _ in given], dtype=np.int64),
        person_V=np.array([people[answer.annotator] for answer, _ in given], dtype=np.int64),
        text_V=tuple(label for _, label in given),
    )
