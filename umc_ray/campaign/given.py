"""Round 0: the labels that the sources came with, where people answer.

They train from the start, are never asked for and cost nothing. A sample among them that the audit
order reaches counts as an audit: the order was drawn before anything was known.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GIVEN
from umc_ray.records import BATCH, LABELS, Part

GIVEN_ANSWERS = {"votes": 0, "agreement": 1.0, "round": 0, "cost": 0.0}
WHY = "its label came with its source"


def write_given(run: Run) -> int:
    """Store the known labels of all pools as those of round 0; returns how many there are.

    A later call adds the domains that have joined the campaign.
    """
    if run.config.annotation.traits.knows_answers:  # they are the answers to what is asked
        return 0
    labels = pa.concat_tables([LABELS.empty_table(), *_known(run)])
    if len(labels):
        run.storage.write_table(f"{GIVEN}/batch.parquet", _as_batch(labels))
        run.storage.write_table(f"{GIVEN}/labels.parquet", labels)
    return len(labels)


def _known(run: Run) -> Iterator[pa.Table]:
    """Yield the labels of each part that has some."""
    for domain_key, domain in run.config.domains().items():
        if domain.label is not None:
            for part in run.pool(domain_key):
                yield _of_part(part, run.storage.read_table(part.key("oracle")))


def _of_part(part: Part, known: pa.Table) -> pa.Table:
    rows = np.flatnonzero(known["label"].is_valid().to_numpy())
    ids = known["sample_id"].to_numpy()[rows]
    places = pa.Table.from_arrays(part.places(rows, ids), names=LABELS.names[:5])
    labels = places.append_column("label", known["label"].take(pa.array(rows)))
    return _completed(labels, LABELS, GIVEN_ANSWERS)


def _as_batch(labels: pa.Table) -> pa.Table:
    """Return the rows of a batch for samples that nobody was asked about."""
    same = {"acquisition": 0.0, "audit": False, "predicted": None, "confidence": 0.0, "why": WHY}
    return _completed(labels, BATCH, same)


def _completed(table: pa.Table, schema: pa.Schema, same: Mapping[str, object]) -> pa.Table:
    """Lay out a table by a schema; columns that it lacks have the same value in all rows."""
    columns = [
        pa.repeat(pa.scalar(same[field.name], field.type), len(table))
        if field.name in same
        else table[field.name]
        for field in schema
    ]
    return pa.table(columns, schema=schema)
