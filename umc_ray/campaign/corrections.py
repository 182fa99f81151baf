"""Labels of closed rounds that people changed: they count from the next training on.

An answer can change on the page, in a sheet, by an import or by a decision, and a sample can be
forgotten. Rounds keep the labels that they closed with; what is different is stored with the round
that takes it over.
"""

import logging

import numpy as np
import pyarrow as pa

from umc_ray.annotation.labels import label_table, places_of
from umc_ray.annotation.review import decisions
from umc_ray.campaign.given import imported_labels
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GIVEN, round_folder
from umc_ray.console import counted, first_of
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.records import LABELS
from umc_ray.selection.labeled import corrections_key, labels_so_far

logger = logging.getLogger(__name__)

SHOWN = 5


def correct_labels(run: Run, number: int) -> None:
    """Take over in a round what has changed about the labels so far, and say it."""
    labels = labels_so_far(run.storage, run.folders(number))
    changed = changed_labels(run, number, labels)
    if not len(changed):
        return
    key = corrections_key(round_folder(number))
    run.storage.write_table(key, changed)
    run.storage.seal([key])
    run.stages.event(f"{round_folder(number)}/corrections", rows=len(changed))
    lines = _lines(changed, labels)
    said = first_of(lines, SHOWN)
    logger.warning("round %d takes over %d corrected labels: %s", number, len(lines), said)


def pending_corrections(run: Run) -> str | None:
    """Say which labels people have changed that the finished rounds do not know; None if all."""
    number = run.finished_rounds
    labels = labels_so_far(run.storage, run.folders(number))
    forgotten = {*forgotten_ids(run.storage).tolist()}
    changed = [each["sample_id"] for each in changed_labels(run, number, labels).to_pylist()]
    given = labels_so_far(run.storage, [GIVEN] if run.has_given_labels else [])
    stood = dict(zip(given["sample_id"].to_pylist(), given["label"].to_pylist(), strict=True))
    imported = imported_labels(run).to_pylist() if run.store.answers(run.config.name, 0) else []
    changed += [
        each["sample_id"]
        for each in imported
        if each["sample_id"] not in forgotten and each["label"] != stood.get(each["sample_id"])
    ]
    if not changed:
        return None
    return (
        f"the finished rounds of {run.config.name} lack {counted(len({*changed}), 'correction')} "
        f"of labels, such as that of s{min(changed)}: umc run takes them over with its next round, "
        "or at its end"
    )


def changed_labels(run: Run, number: int, labels: pa.Table) -> pa.Table:
    """Return the labels that are not as they were, in the columns of LABELS; null: dropped.

    Args:
        run: of the campaign.
        number: of the round up to which labels are looked at.
        labels: of these rounds, as they are stored.
    """
    rounds = [each for each in run.store.reopened_rounds(run.config.name) if each <= number]
    now = pa.concat_tables([LABELS.empty_table(), *(_labels_now(run, each) for each in rounds)])
    before = labels.filter(pa.array(np.isin(labels["round"].to_numpy(), rounds)))
    forgotten = forgotten_ids(run.storage)
    gone = np.isin(labels["sample_id"].to_numpy(), forgotten)
    kept = now.filter(pa.array(~np.isin(now["sample_id"].to_numpy(), forgotten)))
    dropped = ~np.isin(before["sample_id"].to_numpy(), now["sample_id"].to_numpy())
    stored = dict(zip(before["sample_id"].to_pylist(), before["label"].to_pylist(), strict=True))
    pairs = zip(kept["sample_id"].to_pylist(), kept["label"].to_pylist(), strict=True)
    differs = pa.array([stored.get(sample_id) != label for sample_id, label in pairs], pa.bool_())
    without = pa.concat_tables([labels.filter(pa.array(gone)), before.filter(pa.array(dropped))])
    return pa.concat_tables([kept.filter(differs), _without_label(without)])


def _labels_now(run: Run, number: int) -> pa.Table:
    """Return the labels that the answers of a closed round give now."""
    store, name = run.store, run.config.name
    batch = run.storage.read_table(f"{round_folder(number)}/batch.parquet")
    costs, places = run.config.costs(), places_of(batch)
    answers, decided = store.answers(name, number), decisions(store, name, number)
    answers = [each for each in answers if (each.task, each.sample_id) in places]
    return label_table(answers, run.kinds, costs, number, places, decided)


def _without_label(labels: pa.Table) -> pa.Table:
    column = LABELS.get_field_index("label")
    return labels.set_column(column, LABELS.field(column), pa.nulls(len(labels), pa.string()))


def _lines(changed: pa.Table, labels: pa.Table) -> list[str]:
    before = dict(zip(labels["sample_id"].to_pylist(), labels["label"].to_pylist(), strict=True))
    return [
        f"s{row['sample_id']} of {row['task']}/{row['domain']} "
        f"({before.get(row['sample_id'], 'none')} -> {row['label'] or 'none'})"
        for row in changed.to_pylist()
    ]
