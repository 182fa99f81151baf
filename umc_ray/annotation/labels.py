"""From what people answered to one label per sample."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import Answer
from umc_ray.annotation.votes import votes_of
from umc_ray.records import LABELS, DomainKey
from umc_ray.tasks.task import TaskKind, agreement

Places = Mapping[tuple[str, int], tuple[str, int]]
"""Part and row of the samples of a batch, by task and sample id."""


def label_table(
    answers: Sequence[Answer],
    kinds: Mapping[str, TaskKind],
    costs: Mapping[DomainKey, float],
    number: int,
    places: Places,
    decisions: Mapping[SampleKey, Answer] | None = None,
) -> pa.Table:
    """Give each sample of a round its consensus label; what all skipped has none.

    Args:
        answers: of one round.
        kinds: of the tasks.
        costs: of one answer, by domain.
        number: of the round.
        places: where the samples are.
        decisions: what reviewers decided: their label counts, and without one the sample has none.
    """
    rows: list[tuple[object, ...]] = []
    for task, kind in kinds.items():
        own = [answer for answer in answers if answer.task == task]
        decided = {key[2]: each.label for key, each in (decisions or {}).items() if key[1] == task}
        asked = Counter(answer.sample_id for answer in own)  # a skip costs as much as a label
        given = [a for a in own if a.label is not None and decided.get(a.sample_id, "") is not None]
        domains = {answer.sample_id: answer.domain for answer in own}
        votes: dict[int, list[str]] = {}
        for answer in given:
            votes.setdefault(answer.sample_id, []).append(str(answer.label))
        counted = votes_of(given)
        labels, ties = kind.consensus(counted), kind.tied(counted) - decided.keys()
        labels |= {each: label for each, label in decided.items() if each in asked and label}
        for sample_id, label in sorted(labels.items()):
            domain, own_votes = domains[sample_id], votes.get(sample_id, [])
            agreed = agreement(kind, label, own_votes) if own_votes else 1.0
            rows.append(
                (
                    *(task, domain, *places[task, sample_id], sample_id, label),
                    *(len(own_votes), agreed, number),
                    asked[sample_id] * costs[DomainKey(task, domain)],
                    sample_id in ties,
                )
            )
    columns = zip(*rows, strict=True) if rows else ([] for _ in LABELS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, LABELS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LABELS)


def tied(answers: Sequence[Answer], kinds: Mapping[str, TaskKind]) -> set[tuple[str, int]]:
    """Return the task and id of the samples whose answers do not say which label."""
    return {
        (task, sample_id)
        for task, kind in kinds.items()
        for sample_id in kind.tied(votes_of([each for each in answers if each.task == task]))
    }


def places_of(batch: pa.Table) -> Places:
    """Return where the samples of a batch are."""
    names = ("task", "sample_id", "part", "row")
    rows = zip(*(batch[name].to_pylist() for name in names), strict=True)
    return {(task, sample_id): (part, row) for task, sample_id, part, row in rows}
