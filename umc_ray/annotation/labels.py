"""From what people answered to one label per sample."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import Answer
from umc_ray.annotation.votes import vote_arrays
from umc_ray.methods.consensus import majority
from umc_ray.records import LABELS, DomainKey


def label_table(
    answers: Sequence[Answer],
    classes: Mapping[str, Sequence[str]],
    costs: Mapping[DomainKey, float],
    number: int,
    decisions: Mapping[SampleKey, Answer] | None = None,
) -> pa.Table:
    """Give each sample of a round the label most people gave; what all skipped has none.

    Args:
        answers: of one round.
        classes: the label set of each task.
        costs: of one answer, by domain.
        number: of the round.
        decisions: what reviewers decided: their label counts, and without one the sample has none.
    """
    tables = [
        _task_labels(
            [a for a in answers if a.task == task],
            {key[2]: decision.label for key, decision in (decisions or {}).items()},
            task,
            labels,
            costs,
            number,
        )
        for task, labels in classes.items()
    ]
    return pa.concat_tables(tables)


def _task_labels(
    answers: Sequence[Answer],
    decided: Mapping[int, str | None],
    task: str,
    labels: Sequence[str],
    costs: Mapping[DomainKey, float],
    number: int,
) -> pa.Table:
    given = [
        answer
        for answer in answers
        if answer.label is not None and decided.get(answer.sample_id, "") is not None
    ]
    found = majority(*vote_arrays(given, labels), len(labels))
    domains = {answer.sample_id: answer.domain for answer in given}
    votes = Counter(answer.sample_id for answer in given)
    asked = Counter(answer.sample_id for answer in answers)  # a skip costs as much as a label
    ids = found.item_N.tolist()
    label_N, agreement_N = found.label_N.copy(), found.agreement_N.copy()
    for row, sample_id in enumerate(ids):
        if sample_id in decided:
            label_N[row] = labels.index(str(decided[sample_id]))
            agreement_N[row] = found.soft_NC[row, label_N[row]]
    columns = [
        pa.array([task] * len(ids), pa.string()),
        pa.array([domains[i] for i in ids], pa.string()),
        pa.array(ids, pa.int64()),
        pa.array(label_N.astype(np.int16)),
        pa.array([votes[i] for i in ids], pa.int16()),
        pa.array(agreement_N.astype(np.float32)),
        pa.array([number] * len(ids), pa.int32()),
        pa.array([asked[i] * costs[DomainKey(task, domains[i])] for i in ids], pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=LABELS)
