"""Propagate the label of a sample to its near-duplicates, and measure how many of these are wrong.

A sample with a propagated label is not selected any more, but it can still be drawn as an audit.
Only such audits measure how many propagated labels are wrong.

Suffixes: N samples, L labeled ones, D embedding dimension.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.config.campaign import NearDuplicatesConfig
from umc_ray.methods.certificates import exact_interval
from umc_ray.methods.near_duplicates import near_duplicates
from umc_ray.records import (
    NEAR_DUPLICATES,
    DomainKey,
    FloatArray,
    IntArray,
    Part,
    embeddings_array,
)
from umc_ray.selection.labeled import labels_so_far, of_domain, read_embeddings
from umc_ray.storage import Storage


@dataclass(frozen=True)
class Labeled:
    """Samples of a domain that people labeled, sorted by id."""

    ids_L: IntArray
    labels_L: tuple[str, ...]
    embeddings_LD: FloatArray


@dataclass(frozen=True)
class NearDuplicateSummary(Summary):
    """What comparing a part gave."""

    propagated: int  # samples that got a label


@dataclass(frozen=True)
class NearDuplicateWorker:
    """Compares stored features with labeled samples of the same domain."""

    storage: Storage
    table: str  # rounds/<n>
    features: Mapping[str, str]  # table of each task's embeddings
    labeled: Mapping[DomainKey, Labeled]
    excluded: Mapping[DomainKey, IntArray]
    similarity: float
    summary_type: ClassVar[type[NearDuplicateSummary]] = NearDuplicateSummary

    def output_key(self, item: Part) -> str:
        """Name the part's near-duplicates."""
        return item.key(f"{self.table}/near_duplicates")

    def process(self, item: Part) -> tuple[pa.Table, NearDuplicateSummary]:
        """Find a part's open samples that are near-duplicates of a labeled one."""
        table = self.storage.read_table(item.key(self.features[item.domain_key.task]))
        ids_N = table["sample_id"].to_numpy()
        labeled = self.labeled[item.domain_key]
        open_N = np.flatnonzero(~np.isin(ids_N, self.excluded[item.domain_key]))
        x_ND = embeddings_array(table["embedding"])[open_N]
        near = near_duplicates(x_ND, labeled.embeddings_LD, self.similarity)
        rows = open_N[near.rows_M]
        columns = [
            *item.places(rows, ids_N[rows]),
            pa.array([labeled.labels_L[i] for i in near.nearest_M], pa.string()),
            pa.array(labeled.ids_L[near.nearest_M]),
            pa.array(near.cosine_M),
        ]
        return pa.Table.from_arrays(columns, schema=NEAR_DUPLICATES), NearDuplicateSummary(
            rows=item.rows, propagated=len(rows)
        )


def propagate_labels(
    storage: Storage,
    rounds: Sequence[str],
    parts: Sequence[Part],
    features: Mapping[str, str],
    excluded: Mapping[DomainKey, IntArray],
    rules: NearDuplicatesConfig,
    on_rows: OnRows | None = None,
) -> pa.Table:
    """Propagate labels to open near-duplicates, except where audits show too many wrong ones.

    Args:
        storage: the run directory.
        rounds: the folders of the rounds so far; the output belongs to the last one.
        parts: of pools.
        features: the table of each task's features.
        excluded: samples that get no propagated label, by domain.
        rules: the least similarity, and the largest error.
        on_rows: called with each number of rows done.

    Returns:
        A table of the NEAR_DUPLICATES schema.
    """
    assert rules.similarity is not None
    checks = check(storage, rounds)
    failed = [name for name, each in checks.items() if not each.passes(rules)]
    domain_keys = [key for key in excluded if str(key) not in failed]
    labeled = _not_compared(storage, rounds, domain_keys, parts, features)
    worker = NearDuplicateWorker(storage, rounds[-1], features, labeled, excluded, rules.similarity)
    mine = [part for part in parts if part.split == "pool" and part.domain_key in labeled]
    summaries = stream(worker, mine, Compute(), on_rows) if mine else []
    tables = [
        storage.read_table(worker.output_key(part)).replace_schema_metadata()
        for part, summary in zip(mine, summaries, strict=True)
        if summary.propagated
    ]
    return pa.concat_tables([NEAR_DUPLICATES.empty_table(), *tables])


def _not_compared(
    storage: Storage,
    rounds: Sequence[str],
    domain_keys: Iterable[DomainKey],
    parts: Sequence[Part],
    features: Mapping[str, str],
) -> dict[DomainKey, Labeled]:
    """Return the labeled samples of rounds that did not propagate their labels yet, by domain.

    A label that was drawn because the votes are tied is not propagated.
    """
    rounds = [each for each in rounds if not storage.exists(_key(each))]
    labels, found = labels_so_far(storage, rounds).sort_by("sample_id"), {}
    labels = labels.filter(pc.invert(pc.fill_null(labels["tied"], False)))
    for key in domain_keys:
        rows = of_domain(labels, key)
        if len(rows):
            own = [part for part in parts if part.domain_key == key]
            found[key] = Labeled(
                ids_L=rows["sample_id"].to_numpy(),
                labels_L=tuple(rows["label"].to_pylist()),
                embeddings_LD=read_embeddings(storage, own, features[key.task], rows),
            )
    return found


def propagated(storage: Storage, rounds: Sequence[str]) -> pa.Table:
    """Return the samples whose labels were propagated in some rounds, oldest first."""
    keys = [key for each in rounds if storage.exists(key := _key(each))]
    return pa.concat_tables([NEAR_DUPLICATES.empty_table(), *map(storage.read_table, keys)])


def _key(round_folder: str) -> str:
    return f"{round_folder}/near_duplicates.parquet"


def _domain_names(table: pa.Table) -> npt.NDArray[np.str_]:
    names = pc.binary_join_element_wise(table["task"], table["domain"], "/")
    return np.array(names.to_pylist(), dtype=np.str_)


@dataclass(frozen=True)
class Check:
    """How many samples of a domain have a propagated label, and the audits among them.

    `low` and `high`: the exact 95 % interval of the share that is wrong.
    """

    samples: int
    audits: int
    wrong: int
    low: float
    high: float

    def passes(self, rules: NearDuplicatesConfig) -> bool:
        """Whether the audits do not prove more errors than allowed."""
        return self.low <= rules.max_error


def check(storage: Storage, rounds: Sequence[str]) -> dict[str, Check]:
    """Compare, by domain, propagated labels with audits of the same samples."""
    rows = propagated(storage, rounds)
    audited = _audited(storage, rounds) if len(rows) else {}
    names, checks = _domain_names(rows), {}
    for name in np.unique(names).tolist():
        own = rows.filter(pa.array(names == name))
        pairs = zip(own["sample_id"].to_pylist(), own["label"].to_pylist(), strict=True)
        right = [audited[sample] == label for sample, label in pairs if sample in audited]
        wrong = right.count(False)
        checks[name] = Check(len(own), len(right), wrong, *exact_interval(wrong, len(right)))
    return checks


def _audited(storage: Storage, rounds: Sequence[str]) -> dict[int, str]:
    """Return the labels of the samples that were drawn at random, by sample id."""
    labels, columns = labels_so_far(storage, rounds), ["sample_id", "audit"]
    batch = pa.concat_tables([storage.read_table(f"{r}/batch.parquet", columns) for r in rounds])
    audits = set(batch["sample_id"].filter(batch["audit"]).to_pylist())
    pairs = zip(labels["sample_id"].to_pylist(), labels["label"].to_pylist(), strict=True)
    return {sample: label for sample, label in pairs if sample in audits}


def effective(storage: Storage, rounds: Sequence[str], rules: NearDuplicatesConfig) -> pa.Table:
    """Return the samples with a propagated label, without domains where too many are wrong."""
    rows = propagated(storage, rounds)
    good = [name for name, each in check(storage, rounds).items() if each.passes(rules)]
    return rows.filter(pa.array(np.isin(_domain_names(rows), good)))


def with_near_duplicates(
    storage: Storage,
    rounds: Sequence[str],
    excluded: Mapping[DomainKey, IntArray],
    rules: NearDuplicatesConfig,
) -> dict[DomainKey, IntArray]:
    """Add to excluded samples, by domain, those with an effective propagated label."""
    rows = effective(storage, rounds, rules)
    names, ids = _domain_names(rows), rows["sample_id"].to_numpy()
    return {key: np.union1d(each, ids[names == str(key)]) for key, each in excluded.items()}
