"""Answers that come again, from a file: what they change."""

from collections.abc import Iterable
from hashlib import sha256

from umc_ray.annotation.schema import EVENTS, effective, events_with_questions
from umc_ray.annotation.store import AnnotationStore, Answer, answer_of


def changed_answers(answers: Iterable[Answer], given: Iterable[Answer]) -> dict[str, Answer]:
    """Return the answers that change something, by client key.

    Of several answers of a person, the last one is taken. One that the person gave already is left
    out, so that an import that is repeated changes nothing. A key names the answer before, so that
    a label can come back after another one.

    Args:
        answers: in their order.
        given: the answers that count so far.
    """
    last = {(answer.key, answer.annotator): answer for answer in given}
    changes: dict[str, Answer] = {}
    for person, answer in {(each.key, each.annotator): each for each in answers}.items():
        before = last.get(person)
        if before is None or before.label != answer.label:
            after = None if before is None else (before.label, before.submitted_at)
            changes[client_key(answer, after)] = answer
    return changes


def answers_by_key(store: AnnotationStore, prefix: str) -> list[tuple[str, Answer]]:
    """Return the answers that count and whose client keys begin so, with these."""
    mine = effective(), EVENTS.c.client_key.startswith(prefix, autoescape=True)
    with store.readers.connect() as connection:
        rows = connection.execute(events_with_questions().where(*mine)).mappings()
        return [(row["client_key"], answer_of(row)) for row in rows]


def client_key(answer: Answer, after: object) -> str:
    """Name a change of an answer, so that it happens once."""
    identity = repr((*answer.key, answer.annotator, answer.label, after))
    return f"import/{sha256(identity.encode(errors='replace')).hexdigest()}"
