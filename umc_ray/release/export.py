"""A release: the labeled samples of a campaign as a dataset with card and provenance.

    release/<version>/
      data/<task>/<domain>.parquet   one row per labeled sample, in pool order
      near_duplicates/<task>/...     near-duplicates of labeled samples
      README.md                      the dataset card
      croissant.json                 machine-readable description
      provenance.json                configuration, models, pools, checksums; written last

A release is complete once its provenance exists, and is never changed afterward.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.campaign.history import ANSWERS, History, of_domains
from umc_ray.campaign.provenance import provenance
from umc_ray.campaign.run import Run
from umc_ray.config.section import NAME
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.sources import common_folder
from umc_ray.records import DomainKey, Part
from umc_ray.release.card import card
from umc_ray.release.croissant import croissant
from umc_ray.release.dataset import DataFile, Kind, payload, release_schema
from umc_ray.selection.labeled import gather
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

PROVENANCE = "provenance.json"


def write_release(run: Run, version: str | None = None) -> str:
    """Write all labeled samples as a new release; return its folder.

    Args:
        run: with at least one finished round.
        version: name of the release; default: the next of v1, v2, ...

    Raises:
        StoreError: the version exists, no round is finished, or there are no labels.
        ConfigError: the version is not a valid folder name.
    """
    history = History.of(run)
    version = _next_version(run.storage) if version is None else version
    folder = _new_folder(run.storage, version)
    domain_keys = [
        domain_key for domain_key in run.config.domains() if _labeled(history, domain_key).num_rows
    ]
    if not domain_keys:
        raise StoreError(
            f"no sample of {run.storage.root} has a label, so there is nothing to release"
        )
    files = [
        _write(history, domain_key, folder, "data", _domain_table(history, domain_key))
        for domain_key in domain_keys
    ]
    for domain_key in domain_keys:
        table = _near_duplicates(history, domain_key)
        if len(table):
            files.append(_write(history, domain_key, folder, "near_duplicates", table))
    _write_descriptions(history, version, folder, files)
    return f"{run.storage.root.rstrip('/')}/{folder}"


def _write_descriptions(
    history: History, version: str, folder: str, files: Sequence[DataFile]
) -> None:
    """Write card, Croissant description and provenance."""
    origin = provenance(history)
    documents = {
        "README.md": card(history, version, files).encode(),
        "croissant.json": croissant(history, version, files).encode(),
    }
    for name, content in documents.items():
        history.run.storage.write_bytes(f"{folder}/{name}", content)
    checksums = {file.path: file.sha256 for file in files}
    checksums |= {name: hashlib.sha256(content).hexdigest() for name, content in documents.items()}
    history.run.storage.write_json(
        f"{folder}/{PROVENANCE}", {"version": version, **origin, "sha256": checksums}
    )


def _next_version(storage: Storage) -> str:
    """Return the version after the highest numbered one."""
    numbers = re.findall(
        rf"^release/v(\d+)/{PROVENANCE}$", "\n".join(storage.keys("release")), re.M
    )
    return f"v{max(map(int, numbers), default=0) + 1}"


def _new_folder(storage: Storage, version: str) -> str:
    """Return the folder of a new version, cleared of an interrupted attempt."""
    if not re.fullmatch(NAME, version):
        raise ConfigError(f"version {version!r} may contain only letters, digits, '.', '_' and '-'")
    folder = f"release/{version}"
    if storage.exists(f"{folder}/{PROVENANCE}"):
        raise StoreError(
            f"release {version} of {storage.root} exists and is never overwritten: "
            "choose another version"
        )
    storage.delete(folder)
    return folder


def _labeled(history: History, domain_key: DomainKey) -> pa.Table:
    """Return the labeled samples of a domain, with their answers."""
    queried = history.asked_of(domain_key)
    return queried.filter(queried["label"].is_valid())


def _write(
    history: History, domain_key: DomainKey, folder: str, kind: Kind, table: pa.Table
) -> DataFile:
    """Write a table of a domain."""
    storage, is_annotated = history.run.storage, kind == "data"
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
        audits=sum(table["audit"].to_pylist()) if is_annotated else 0,
        cost=sum(table["cost"].to_pylist()) if is_annotated else 0.0,
        classes=_counts(history.run.kinds[domain_key.task], table["label"]),
    )


def _counts(kind: TaskKind, values: pa.ChunkedArray) -> dict[str, int]:
    """Count released answers by label, as the kind counts them."""
    return kind.counts([kind.parse(value) for value in values.to_pylist()])


def _domain_table(history: History, domain_key: DomainKey) -> pa.Table:
    """Return a domain's labeled samples with all columns of a release."""
    labeled, audits = _labeled(history, domain_key), history.audit_ids(domain_key)
    is_audit = np.isin(labeled["sample_id"].to_numpy(), audits)
    labeled = labeled.set_column(
        labeled.column_names.index("audit"), "audit", pa.array(is_audit, pa.bool_())
    )
    schema = release_schema(history.run.config.tasks[domain_key.task])
    parts = [_with_all_columns(history, *each) for each in _by_part(history, domain_key, labeled)]
    return pa.concat_tables([schema.empty_table(), *parts])


def _near_duplicates(history: History, domain_key: DomainKey) -> pa.Table:
    """Return a domain's near-duplicates with all columns of a release."""
    task = history.run.config.tasks[domain_key.task]
    schema = release_schema(task, "near_duplicates")
    tables = [schema.empty_table()]
    for part, picks in _by_part(
        history, domain_key, of_domains(history.near_duplicates, [domain_key])
    ):
        columns = {
            **{name: picks[name] for name in ("sample_id", "label_of", "similarity")},
            **_origin(history, part, picks),
            "label": _values(task, picks["label"].to_pylist()),
            "origin": pa.array(["near_duplicate"] * len(picks)),
        }
        tables.append(pa.table([columns[name] for name in schema.names], schema=schema))
    return pa.concat_tables(tables)


def _by_part(
    history: History, domain_key: DomainKey, picks: pa.Table
) -> Iterator[tuple[Part, pa.Table]]:
    """Split samples of a domain by part, in pool order."""
    names = np.array(picks["part"].to_pylist(), dtype=np.str_)
    rows = picks["row"].to_numpy()
    for part in history.run.pool(domain_key):
        in_part = np.flatnonzero(names == part.name)
        if len(in_part):
            yield part, picks.take(pa.array(in_part[np.argsort(rows[in_part])]))


def _origin(history: History, part: Part, picks: pa.Table) -> dict[str, Any]:
    """Return the payloads, keys, sources and domains of samples of a part."""
    names = [payload(history.run.config.tasks[part.domain_key.task]).name, "key", "source"]
    pool = gather(history.run.storage, [part], "pool", picks, names)
    root = common_folder(history.run.config.domains()[part.domain_key].sources("pool"))
    sources = [each.removeprefix(root).lstrip("/") for each in pool["source"].to_pylist()]
    return {
        **{name: pool[name] for name in names},
        "source": pa.array(sources, pa.string()),
        "domain": pa.array([part.domain_key.domain] * len(picks)),
    }


def _values(task: TaskConfig, texts: Sequence[str]) -> pa.Array:
    """Return targets as the release holds them."""
    kind = task.task_kind()
    return pa.array([kind.value(text) for text in texts], kind.target_type)


def _with_all_columns(history: History, part: Part, picks: pa.Table) -> pa.Table:
    """Add payloads and the last round's predictions to labeled samples of a part."""
    task = history.run.config.tasks[part.domain_key.task]
    kind, scored = task.task_kind(), f"{history.folders[-1]}/scores"
    scores = gather(history.run.storage, [part], scored, picks)
    predicted, certainty = kind.predicted(scores)
    columns = {
        **{name: picks[name] for name in ("sample_id", "round", "audit", "why", *ANSWERS)},
        **_origin(history, part, picks),
        **{name: scores[name] for name in kind.measures_about},
        "label": _values(task, picks["label"].to_pylist()),
        "predicted": _values(task, predicted),
        "probability": pa.array(certainty, pa.float32()),
    }
    schema = release_schema(task)
    return pa.table([columns[name] for name in schema.names], schema=schema)
