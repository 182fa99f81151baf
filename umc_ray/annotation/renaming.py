"""Labels that got another name, in all that the store knows of a task."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import or_, select, update

from umc_ray.annotation.schema import EVENTS, QUESTIONS
from umc_ray.annotation.store import AnnotationStore, Question, question_of, question_row
from umc_ray.records import Made

Rename = Callable[[str], str]


def rename_labels(store: AnnotationStore, campaign: str, task: str, rename: Rename) -> None:
    """Rename the labels in all questions, answers and decisions of a task, batches included."""
    is_batch = QUESTIONS.c.campaign.startswith(f"{campaign}/", autoescape=True)
    mine = QUESTIONS.c.task == task, or_(QUESTIONS.c.campaign == campaign, is_batch)
    with store.writing() as connection:
        for row in connection.execute(select(QUESTIONS).where(*mine)).mappings().all():
            columns = question_row(_renamed(question_of(row), rename))
            values = {name: columns[name] for name in ("payload", "gold")}
            this = QUESTIONS.c.id == row["id"]
            connection.execute(update(QUESTIONS).where(this).values(values))
        ids = select(QUESTIONS.c.id).where(*mine)
        labeled = EVENTS.c.question_id.in_(ids), EVENTS.c.label.is_not(None)
        for label in connection.scalars(select(EVENTS.c.label).where(*labeled).distinct()).all():
            same = *labeled, EVENTS.c.label == label
            connection.execute(update(EVENTS).where(*same).values(label=rename(label)))


def _remade(made: Made, rename: Rename) -> Made:
    return replace(made, label=rename(made.label))


def _renamed(question: Question, rename: Rename) -> Question:
    """Rename the labels in a question; shares of labels that become one are added up."""
    payload = question.payload
    probabilities: dict[str, float] = {}
    for label, share in payload.probabilities.items():
        probabilities[rename(label)] = probabilities.get(rename(label), 0.0) + share
    opinions = {who: (rename(label), p) for who, (label, p) in payload.specialists.items()}
    return replace(
        question,
        gold=None if question.gold is None else rename(question.gold),
        payload=replace(
            payload,
            predicted=None if payload.predicted is None else rename(payload.predicted),
            probabilities=probabilities,
            specialists=opinions,
            made=None if payload.made is None else _remade(payload.made, rename),
        ),
    )
