"""A release: the labeled samples of a campaign as a dataset that says where it comes from.

    release/<version>/
      data/<task>/<domain>.parquet   one row per labeled sample, in the order of the pool
      README.md                      the dataset card
      croissant.json                 the same for machines
      provenance.json                configuration, models, pools, checksums; written last

A release is there when its provenance is; it is never written again.
"""

import hashlib
import re
from collections import Counter

import numpy as np
import pyarrow as pa

from umc_ray.config import NAME
from umc_ray.errors import ConfigError, StoreError
from umc_ray.pipeline.batch import gather
from umc_ray.records import Arm, Part
from umc_ray.release.card import card
from umc_ray.release.croissant import croissant
from umc_ray.release.dataset import SCORE_COLUMNS, DataFile, payload, release_schema
from umc_ray.release.history import ANSWERS, History
from umc_ray.release.provenance import provenance
from umc_ray.run import Run
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
    arms = [arm for arm in run.config.domains() if _labeled(history, arm).num_rows]
    if not arms:
        raise StoreError(f"no sample of {run.storage.root} has a label: nothing to release")
    files = [_write_domain(history, arm, folder) for arm in arms]
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


def _labeled(history: History, arm: Arm) -> pa.Table:
    """Return what is known of a domain's labeled samples."""
    asked = history.asked_of(arm)
    return asked.filter(asked["label"].is_valid())


def _write_domain(history: History, arm: Arm, folder: str) -> DataFile:
    """Write a domain's labeled samples."""
    storage, table = history.run.storage, _domain_table(history, arm)
    path = f"data/{arm.task}/{arm.domain}.parquet"
    storage.write_table(f"{folder}/{path}", table)
    content = storage.read_bytes(f"{folder}/{path}")
    return DataFile(
        arm=arm,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        rows=len(table),
        audits=sum(table["audit"].to_pylist()),
        cost=sum(table["cost"].to_pylist()),
        classes=Counter(table["label"].to_pylist()),
    )


def _domain_table(history: History, arm: Arm) -> pa.Table:
    """Complete a domain's labeled samples, part by part and in the order of the pool."""
    labeled, audits = _labeled(history, arm), history.audit_ids(arm)
    is_audit = np.isin(labeled["sample_id"].to_numpy(), audits)
    labeled = labeled.set_column(
        labeled.column_names.index("audit"), "audit", pa.array(is_audit, pa.bool_())
    )
    names = np.array(labeled["part"].to_pylist(), dtype=np.str_)
    rows = labeled["row"].to_numpy()
    tables = [release_schema(history.run.config.tasks[arm.task]).empty_table()]
    for part in history.run.pool(arm):
        mine = np.flatnonzero(names == part.name)
        if len(mine):
            picks = labeled.take(pa.array(mine[np.argsort(rows[mine])]))
            tables.append(_completed(history, part, picks))
    return pa.concat_tables(tables)


def _completed(history: History, part: Part, picks: pa.Table) -> pa.Table:
    """Add to labeled samples of a part their payload and what the last models think of them."""
    arm, storage = part.arm, history.run.storage
    task = history.run.config.tasks[arm.task]
    classes = np.array(task.labels, dtype=object)
    own = [payload(task).name, "key", "source"]
    pool = gather(storage, [part], "pool", picks, own)
    names = [column.name for column in SCORE_COLUMNS]
    scored = [*names, "label_1", "prob_1"]
    scores = gather(storage, [part], f"{history.folders[-1]}/scores", picks, scored)
    columns = {
        **{name: picks[name] for name in ("sample_id", "round", "audit", "why", *ANSWERS)},
        **{name: pool[name] for name in own},
        **{name: scores[name] for name in names},
        "label": pa.array(classes[picks["label"].to_numpy()], pa.string()),
        "domain": pa.array([arm.domain] * len(picks), pa.string()),
        "predicted": pa.array(classes[scores["label_1"].to_numpy()], pa.string()),
        "probability": scores["prob_1"],
    }
    schema = release_schema(task)
    return pa.table([columns[name] for name in schema.names], schema=schema)
