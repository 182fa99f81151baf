"""A release: the labeled samples of a campaign as a dataset with card and provenance.

    release/<version>/
      data/<task>/<domain>.parquet   one row per labeled sample, in pool order
      near_duplicates/<task>/...     near-duplicates of labeled samples
      synthetic/<task>/...           synthetic samples that stand
      README.md                      the dataset card
      croissant.json                 machine-readable description
      provenance.json                configuration, models, pools, checksums; written last

Where the campaign names splits, a folder of each is between task and domain. A release is complete
once its provenance exists, and is never changed afterward.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from umc_ray.campaign.history import History
from umc_ray.campaign.provenance import provenance
from umc_ray.campaign.run import Run
from umc_ray.campaign.verify import check_files
from umc_ray.config.section import NAME
from umc_ray.errors import ConfigError, StoreError
from umc_ray.records import DomainKey
from umc_ray.release.card import card
from umc_ray.release.croissant import croissant
from umc_ray.release.dataset import Column, DataFile, Kind
from umc_ray.release.splits import split_rows
from umc_ray.release.tables import TaskTables, labeled_of
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

PROVENANCE = "provenance.json"
SYNTHETIC_SPLIT = "synthetic"


@dataclass(frozen=True)
class _Piece:
    """The rows of one file."""

    domain_key: DomainKey
    kind: Kind
    split: str
    columns: tuple[Column, ...]
    table: pa.Table


def write_release(run: Run, version: str | None = None, synthetic: bool | None = None) -> str:
    """Write all labeled samples as a new release; return its folder.

    Args:
        run: with at least one finished round.
        version: name of the release; default: the next of v1, v2, ...
        synthetic: whether it has the synthetic samples that stand; default: as the campaign says.

    Raises:
        StoreError: the version exists, no round is finished, there are no labels, or stored files
            are missing, such as those of the models that its provenance names.
        ConfigError: the version is not a valid folder name, or the campaign file is not the one
            that the run directory was begun with.
    """
    check_files(run.storage)
    history = History.of(run)
    _check_domains(history)
    version = _next_version(run.storage) if version is None else version
    folder = _new_folder(run.storage, version)
    domain_keys = [
        domain_key
        for domain_key in run.config.domains()
        if labeled_of(history, domain_key).num_rows
    ]
    if not domain_keys:
        raise StoreError(
            f"no sample of {run.storage.root} has a label, so there is nothing to release"
        )
    pieces = list(_pieces(history, domain_keys))
    if run.config.release.synthetic if synthetic is None else synthetic:
        pieces += _synthetic_pieces(history)
    files = [_write(history, folder, piece) for piece in pieces]
    _write_descriptions(history, version, folder, files)
    return f"{run.storage.root.rstrip('/')}/{folder}"


def _check_domains(history: History) -> None:
    """Make sure that no label belongs to a domain that the campaign file lacks.

    Raises:
        ConfigError: names the domains, and how many labels they have.
    """
    labels = history.batches.filter(history.batches["label"].is_valid())
    pairs = zip(labels["task"].to_pylist(), labels["domain"].to_pylist(), strict=True)
    counts = Counter(DomainKey(*pair) for pair in pairs)
    known = history.run.config.domains()
    lacking = [f"{n} of {key}" for key, n in sorted(counts.items()) if key not in known]
    if lacking:
        raise ConfigError(
            f"the rounds of {history.run.storage.root} have labels of domains that the campaign "
            f"file lacks: {', '.join(lacking)}; put these domains back"
        )


def _pieces(history: History, domain_keys: Sequence[DomainKey]) -> Iterator[_Piece]:
    """Yield what is released: labeled samples, test data, then near-duplicates."""
    config = history.run.config
    shares, held_out = config.release.shares, config.release.held_out
    tables = {name: TaskTables(history, name) for name in config.tasks}
    for key in domain_keys:
        columns = tables[key.task].columns("data")
        for split, rows in split_rows(tables[key.task].labeled(key), "sample_id", shares):
            yield _Piece(key, "data", split, columns, rows)
    for key in history.domains if held_out else ():
        if config.domains()[key].test is not None:
            table, columns = tables[key.task].held_out(key), tables[key.task].columns("data")
            yield _Piece(key, "data", str(held_out), columns, table)
    for key in domain_keys:  # in the split of the sample whose label they have
        columns = tables[key.task].columns("near_duplicates")
        for split, rows in split_rows(tables[key.task].near_duplicates(key), "label_of", shares):
            yield _Piece(key, "near_duplicates", split, columns, rows)


def _synthetic_pieces(history: History) -> Iterator[_Piece]:
    """Yield the synthetic samples of each domain that has some."""
    for key in history.domains:
        tables = TaskTables(history, key.task)
        table = tables.synthetic(key)
        if len(table):
            yield _Piece(key, "synthetic", SYNTHETIC_SPLIT, tables.columns("synthetic"), table)


def _write_descriptions(
    history: History, version: str, folder: str, files: Sequence[DataFile]
) -> None:
    """Write card, Croissant description and provenance."""
    released = any(file.kind == "synthetic" for file in files)
    origin = {
        **provenance(history),
        "synthetic": [asdict(each) for each in history.acceptance if released],
        "quality": [asdict(each) for each in history.metrics[-1].ratings if released],
    }
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


def _write(history: History, folder: str, piece: _Piece) -> DataFile:
    """Write a table of a domain."""
    config, storage, table = history.run.config, history.run.storage, piece.table
    task, domain = piece.domain_key.task, piece.domain_key.domain
    steps = [piece.kind, task, *([piece.split] if config.release.splits else []), domain]
    path = f"{'/'.join(steps)}.parquet"
    storage.write_table(f"{folder}/{path}", table)
    content = storage.read_bytes(f"{folder}/{path}")
    is_data = piece.kind == "data"
    return DataFile(
        domain_key=piece.domain_key,
        kind=piece.kind,
        split=piece.split,
        is_labeled=is_data and piece.split != config.release.held_out,
        columns=piece.columns,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        rows=len(table),
        audits=sum(table["audit"].to_pylist()) if is_data else 0,
        cost=sum(table["cost"].to_pylist()) if is_data else 0.0,
        classes=_counts(history.run.kinds[task], table["label"]),
    )


def _counts(kind: TaskKind, values: pa.ChunkedArray) -> dict[str, int]:
    """Count released answers by label, as the kind counts them."""
    return kind.counts([kind.parse(value) for value in values.to_pylist()])
