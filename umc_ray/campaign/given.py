"""Round 0: the labels that nobody was asked for, where people answer.

They came with the sources, or with `umc import` and `umc relabel`, whose answers stand in the store
as those of round 0. They train from the start, are never asked for and cost nothing. A sample among
them that the audit order reaches counts as an audit: the order was drawn before anything was known.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from umc_ray.annotation.labels import label_table
from umc_ray.annotation.review import decisions
from umc_ray.campaign.run import Run
from umc_ray.campaign.samples import places_in_pool
from umc_ray.campaign.state import GIVEN, RunState
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.methods.identity import uniform
from umc_ray.records import BATCH, LABELS, DomainKey, Part
from umc_ray.selection.labeled import labels_so_far, of_domain

GIVEN_ANSWERS = {"votes": 0, "agreement": 1.0, "round": 0, "cost": 0.0, "tied": False}
FROM_SOURCE, IMPORTED = "its label came with its source", "its label was imported"


def write_given(run: Run) -> int:
    """Store the labels of round 0; returns how many there are.

    A later call adds the domains that have joined the campaign, and what was imported since.
    """
    if run.config.annotation.traits.knows_answers:  # they are the answers to what is asked
        return 0
    imported = imported_labels(run)
    known = pa.concat_tables([LABELS.empty_table(), *_known(run)])
    others = ~np.isin(known["sample_id"].to_numpy(), imported["sample_id"].to_numpy())
    labels = pa.concat_tables([known.filter(pa.array(others)), imported])
    forgotten = np.isin(labels["sample_id"].to_numpy(), forgotten_ids(run.storage))
    labels = labels.filter(pa.array(~forgotten))
    if len(labels) or run.has_given_labels:
        run.storage.write_table(f"{GIVEN}/batch.parquet", _as_batch(labels))
        run.storage.write_table(f"{GIVEN}/labels.parquet", labels)
        run.storage.seal([f"{GIVEN}/batch.parquet", f"{GIVEN}/labels.parquet"])
    return len(labels)


def labels_to_check(run: Run) -> dict[DomainKey, pa.Table]:
    """Return the places of given labels that people check and have not been asked about yet."""
    share = run.config.annotation.verify
    if not share or not run.has_given_labels:
        return {}
    labels = run.storage.read_table(f"{GIVEN}/labels.parquet", LABELS.names[:5])
    found = {}
    for domain_key, asked in run.queried().items():
        rows = of_domain(labels, domain_key)
        ids = rows["sample_id"].to_numpy()
        drawn = uniform(ids, run.config.seed, "verify") < share
        found[domain_key] = rows.filter(pa.array(drawn & ~np.isin(ids, asked)))
    return found


def checked_labels(run: RunState, rounds: int) -> tuple[int, int]:
    """Return how many given labels people have checked, and how many of these are wrong."""
    if not run.has_given_labels:
        return 0, 0
    given = run.storage.read_table(f"{GIVEN}/labels.parquet").to_pylist()
    stood = {row["sample_id"]: row["label"] for row in given}
    labels = labels_so_far(run.storage, run.folders(rounds)).to_pylist()
    found = [row for row in labels if row["round"] > 0 and row["sample_id"] in stood]
    return len(found), sum(row["label"] != stood[row["sample_id"]] for row in found)


def _known(run: Run) -> Iterator[pa.Table]:
    """Yield the labels of each part that has some."""
    for domain_key, domain in run.config.domains().items():
        if domain.label is not None:
            for part in run.pool(domain_key):
                yield _of_part(part, run.storage.read_table(part.key("oracle")))


def imported_labels(run: Run) -> pa.Table:
    """Return the labels that the answers of round 0 give."""
    store, name = run.store, run.config.name
    answers = store.answers(name, 0)
    domain_keys = {DomainKey(answer.task, answer.domain) for answer in answers}
    places = {
        (key.task, sample_id): place
        for key in domain_keys & run.config.domains().keys()
        for sample_id, place in places_in_pool(run, key).items()
    }
    answers = [each for each in answers if (each.task, each.sample_id) in places]
    free = dict.fromkeys(run.config.domains(), 0.0)
    return label_table(answers, run.kinds, free, 0, places, decisions(store, name, 0))


def _of_part(part: Part, known: pa.Table) -> pa.Table:
    rows = np.flatnonzero(known["label"].is_valid().to_numpy())
    ids = known["sample_id"].to_numpy()[rows]
    places = pa.Table.from_arrays(part.places(rows, ids), names=LABELS.names[:5])
    labels = places.append_column("label", known["label"].take(pa.array(rows)))
    return _completed(labels, LABELS, GIVEN_ANSWERS)


def _as_batch(labels: pa.Table) -> pa.Table:
    """Return the rows of a batch for samples that nobody was asked about."""
    same = {"acquisition": 0.0, "audit": False, "predicted": None, "confidence": 0.0}
    why = [IMPORTED if votes else FROM_SOURCE for votes in labels["votes"].to_pylist()]
    return _completed(labels.append_column("why", pa.array(why, pa.string())), BATCH, same)


def _completed(table: pa.Table, schema: pa.Schema, same: Mapping[str, object]) -> pa.Table:
    """Lay out a table by a schema; columns that it lacks have the same value in all rows."""
    columns = [
        pa.repeat(pa.scalar(same[field.name], field.type), len(table))
        if field.name in same
        else table[field.name]
        for field in schema
    ]
    return pa.table(columns, schema=schema)
