"""Forget samples: they leave the pool, training, and every later release.

Their texts and images are deleted from the pool, their embeddings from the features. Names, ids and
content hashes stay, so that the sources do not bring them back. Sheets and earlier releases stay as
they are.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.run import Run
from umc_ray.campaign.samples import ids_of_samples
from umc_ray.campaign.state import REMARKED
from umc_ray.campaign.writer import sole_writer
from umc_ray.diversity.synthetic import synthetic_parts, table_key
from umc_ray.ingest.forgotten import remember_forgotten
from umc_ray.ingest.manifest import load_manifest
from umc_ray.json_records import from_json, to_json
from umc_ray.passes.encode import EncodeSummary
from umc_ray.records import DomainKey, Part, embeddings_array, embeddings_column
from umc_ray.storage import Storage


def forget(run: Run, domain_key: DomainKey, samples: Sequence[str]) -> list[int]:
    """Forget samples of a domain; returns their ids. The next round takes it over.

    Raises:
        Busy: a run is at work.
        DataError: the pool has no such sample; nothing is forgotten then.
        StoreError: the store of answers and the rounds do not belong together.
    """
    check_store(run)
    ids = ids_of_samples(run, domain_key, samples)
    with sole_writer(run.storage):
        remember_forgotten(run.storage, domain_key, ids)
        run.store.withdraw([(run.config.name, domain_key.task, each) for each in ids])
        for part in load_manifest(run.storage, domain_key, "pool").parts:
            _forget_in_part(run, part, ids)
        _forget_what_was_made(run, domain_key, ids)
        _forget_remarks(run.storage, ids)
    return ids


def _forget_what_was_made(run: Run, domain_key: DomainKey, ids: Sequence[int]) -> None:
    """Delete synthetic samples that were made from forgotten ones, and prompts that quote these."""
    storage = run.storage
    for key in storage.keys("generated"):
        made_from = storage.read_table(key, ["exemplars"])["exemplars"].to_pylist()
        if not {*ids}.isdisjoint(each for exemplars in made_from for each in exemplars):
            storage.delete_file(key)
    for part in synthetic_parts(storage, [domain_key]):
        rows = storage.read_table(table_key(part), ["sample_id", "exemplars"]).to_pylist()
        is_gone = np.array([not {*ids}.isdisjoint(row["exemplars"]) for row in rows], np.bool_)
        if is_gone.any():
            _blank(storage, table_key(part), ("prompt",), is_gone)
            gone = [row["sample_id"] for row, is_one in zip(rows, is_gone, strict=True) if is_one]
            _forget_in_part(run, part, gone)


def _forget_remarks(storage: Storage, ids: Sequence[int]) -> None:
    """Delete what people said about forgotten samples: it may quote them."""
    for key in storage.keys("rounds"):
        if key.endswith(f"/{REMARKED}"):
            said = storage.read_table(key)
            gone = np.isin(said["sample_id"].to_numpy(), ids)
            storage.write_table(key, said.filter(pa.array(~gone)))


def _forget_in_part(run: Run, part: Part, ids: Sequence[int]) -> None:
    storage, key = run.storage, part.key("pool")
    table = storage.read_table(key, ["sample_id"])
    is_gone = np.isin(table["sample_id"].to_numpy(), ids)
    if not is_gone.any():
        return
    for features in run.features[part.domain_key.task].values():
        if storage.exists(part.key(features)):
            _blank_features(storage, part.key(features), is_gone)
    for outputs in _tables_of(storage, "outputs", part):
        _blank_features(storage, outputs, is_gone)
    for lower in _tables_of(storage, "lower", part):
        storage.delete_file(lower)  # it is computed anew
    if storage.exists(part.key("oracle")):
        _blank(storage, part.key("oracle"), ("label", "ratings"), is_gone)
    if storage.exists(kept := part.key("kept")):
        _blank(storage, kept, storage.read_schema(kept).names, is_gone)
    there = {"text", "image", "embedding"} & {*storage.read_schema(key).names}
    _blank(storage, key, sorted(there), is_gone)


def _tables_of(storage: Storage, folder: str, part: Part) -> list[str]:
    """Return the files of a part in all tables of a folder."""
    return [key for key in storage.keys(folder) if key.endswith(part.key(""))]


def _blank(storage: Storage, key: str, columns: Sequence[str], is_gone: np.ndarray) -> None:
    """Replace values of some rows by nulls."""
    table = storage.read_table(key)
    for name in columns:
        place, column = table.schema.get_field_index(name), table[name]
        rows = pa.array(np.arange(len(table)), mask=is_gone)
        table = table.set_column(place, table.schema.field(name), column.take(rows))
    storage.write_table(key, table)


def _blank_features(storage: Storage, key: str, is_gone: np.ndarray) -> None:
    """Replace embeddings by such that are not numbers, as of samples that cannot be encoded."""
    table = storage.read_table(key)
    metadata = dict(table.schema.metadata or {})
    summary = from_json(EncodeSummary, metadata[b"summary"])
    gone = table["sample_id"].filter(pa.array(is_gone)).to_pylist()
    rejected = tuple(sorted({*summary.rejected, *gone}))
    embeddings_ND = embeddings_array(table["embedding"]).copy()
    embeddings_ND[is_gone] = np.nan
    columns = {"sample_id": table["sample_id"], "embedding": embeddings_column(embeddings_ND)}
    metadata[b"summary"] = to_json(EncodeSummary(summary.rows, rejected))
    storage.write_table(key, pa.table(columns).replace_schema_metadata(metadata))
