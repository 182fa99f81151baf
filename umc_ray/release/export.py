"""A release: the labeled samples of a campaign as a dataset that says where it comes from.

    release/<version>/
      data/<task>/<domain>.parquet   one row per labeled sample, in the order of the pool
      near_duplicates/<task>/...     samples that took over the label of one nearly the same
      README.md                      the dataset card
      croissant.json                 the same for machines
      provenance.json                configuration, models, pools, checksums; written last

A release is there when its provenance is; it is never written again.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.campaign.history import ANSWERS, History, of_domains
from umc_ray.campaign.provenance import provenance
from umc_ray.campaign.run import Run
from umc_ray.config.section import NAME
from umc_ray.errors import ConfigError, StoreError
from umc_ray.records import DomainKey, Part
from umc_ray.release.card import card
from umc_ray.release.croissant import croissant
from umc_ray.release.dataset import SCORE_COLUMNS, DataFile, Kind, payload, release_schema
from umc_ray.selection.batch import gather
from umc_ray.storage import Storage

PROVENANCE = "provenance.json"


def write_release(run: Run, version: str | None = None) -> str:
    """Write all labeled samples as a new release; returns its folder.

    Args:
        run: with one finished round at least.
        version: its name; by default v1, v2, ...

    Raises:
        StoreError: the version exists, no round is finished, or there are no labels.
        ConfigError: the version cannot be the name of a folder.
    """
    history = History.of(run)
    version = _next_version(run.storage) if version is None else version
    folder = _new_folder(run.storage, version)
    domain_keys = [
        domain_key for domain_key in run.config.domains() if _labeled(history, domain_key).num_rows
    ]
    if not domain_keys:
        raise StoreError(f"no sample of {run.storage.root} has a label: nothing to release")
    files = [
        _write(history, domain_key, folder, "data", _domain_table(history, domain_key))
        for domain_key in domain_keys
    ]
    for domain_key in domain_keys:
        table = _near_duplicates(history, domain_key)
        if len(table):
            files.append(_write(history, domain_key, folder, "near_duplicates", table))
    origin = provenance(history)
    extra = {
        "README.md": card(history, version, files).encode(),
        "croissant.json": croissant(history, version, files).encode(),
    }
    for name, content in extra.items():
        run.storage.write_bytes(f"{folder}/{name}", content)
    sums = {file.path: file.sha256 for file in files}
    sums |= {name: hashlib.sha256(content).hexdigest() for name, content in extra.items()}
    document = {"version": version, **origin, "sha256": sums}
    run.storage.write_json(f"{folder}/{PROVENANCE}", document)
    return f"{run.storage.root.rstrip('/')}/{folder}"


def _next_version(storage: Storage) -> str:
    """Return the version after the highest numbered one."""
    found = re.findall(rf"^release/v(\d+)/{PROVENANCE}$", "\n".join(storage.keys("release")), re.M)
    return f"v{max(map(int, found), default=0) + 1}"


def _new_folder(storage: Storage, version: str) -> str:
    """Return the folder of a version that does not exist, without what a broken off try left."""
    if not re.fullmatch(NAME, version):
        raise ConfigError(f"version {version!r} must be letters, digits, '.', '_' and '-'")
    folder = f"release/{version}"
    if storage.exists(f"{folder}/{PROVENANCE}"):
        raise StoreError(
            f"release {version} of {storage.root} exists and is never overwritten: "
            "give the new one another version"
        )
    storage.delete(folder)
    return folder


def _labeled(history: History, domain_key: DomainKey) -> pa.Table:
    """Return what is known of a domain's labeled samples."""
    asked = history.asked_of(domain_key)
    return asked.filter(asked["label"].is_valid())


def _write(
    history: History, domain_key: DomainKey, folder: str, kind: Kind, table: pa.Table
) -> DataFile:
    """Write a table of a domain."""
    storage, by_people = history.run.storage, kind == "data"
    path = f"{kind}/{domain_key.task}/{domain_key.domain}.parquet"
    storage.write_table(f"{folder}/{path}", table)
    content = storage.read_bytes(f"{folder}/{path}")
    return DataFile(
        domain_key=domain_key,
        kind=kind,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        rows=len(table),
        audits=sum(table["audit"].to_pylist()) if by_people else 0,
        cost=sum(table["cost"].to_pylist()) if by_people else 0.0,
        classes=Counter(table["label"].to_pylist()),
    )


def _domain_table(history: History, domain_key: DomainKey) -> pa.Table:
    """Complete a domain's labeled samples."""
    labeled, audits = _labeled(history, domain_key), history.audit_ids(domain_key)
    is_audit = np.isin(labeled["sample_id"].to_numpy(), audits)
    labeled = labeled.set_column(
        labeled.column_names.index("audit"), "audit", pa.array(is_audit, pa.bool_())
    )
    schema = release_schema(history.run.config.tasks[domain_key.task])
    parts = [_completed(history, *each) for each in _by_part(history, domain_key, labeled)]
    return pa.concat_tables([schema.empty_table(), *parts])


def _near_duplicates(history: History, domain_key: DomainKey) -> pa.Table:
    """Complete a domain's samples that took over a label."""
    task = history.run.config.tasks[domain_key.task]
    schema = release_schema(task, "near_duplicates")
    tables = [schema.empty_table()]
    for part, picks in _by_part(
        history, domain_key, of_domains(history.near_duplicates, [domain_key])
    ):
        columns = {
            **{name: picks[name] for name in ("sample_id", "label_of", "similarity")},
            **_origin(history, part, picks),
            "label": _names(task.labels, picks["label"]),
            "origin": pa.array(["near_duplicate"] * len(picks)),
        }
        tables.append(pa.table([columns[name] for name in schema.names], schema=schema))
    return pa.concat_tables(tables)


def _by_part(
    history: History, domain_key: DomainKey, picks: pa.Table
) -> Iterator[tuple[Part, pa.Table]]:
    """Split picks of a domain by part, all in the order of the pool."""
    names = np.array(picks["part"].to_pylist(), dtype=np.str_)
    rows = picks["row"].to_numpy()
    for part in history.run.pool(domain_key):
        mine = np.flatnonzero(names == part.name)
        if len(mine):
            yield part, picks.take(pa.array(mine[np.argsort(rows[mine])]))


def _origin(history: History, part: Part, picks: pa.Table) -> dict[str, Any]:
    """Return the payload of picks of a part, and where each is from."""
    own = [payload(history.run.config.tasks[part.domain_key.task]).name, "key", "source"]
    pool = gather(history.run.storage, [part], "pool", picks, own)
    return {**{n: pool[n] for n in own}, "domain": pa.array([part.domain_key.domain] * len(picks))}


def _names(labels: Sequence[str], codes: pa.ChunkedArray) -> pa.Array:
    return pa.array(np.array(labels, dtype=object)[codes.to_numpy()], pa.string())


def _completed(history: History, part: Part, picks: pa.Table) -> pa.Table:
    """Add to labeled samples of a part their payload and what the last models think of them."""
    task = history.run.config.tasks[part.domain_key.task]
    names = [column.name for column in SCORE_COLUMNS]
    scored, table = [*names, "label_1", "prob_1"], f"{history.folders[-1]}/scores"
    scores = gather(history.run.storage, [part], table, picks, scored)
    columns = {
        **{name: picks[name] for name in ("sample_id", "round", "audit", "why", *ANSWERS)},
        **_origin(history, part, picks),
        **{name: scores[name] for name in names},
        "label": _names(task.labels, picks["label"]),
        "predicted": _names(task.labels, scores["label_1"]),
        "probability": scores["prob_1"],
    }
    schema = release_schema(task)
    return pa.table([columns[name] for name in schema.names], schema=schema)
