"""Ingest: from the sources of a domain to the parts of its pool, in two passes over the cluster.

    sources -> items of work -> [staging.Reader: read, check, hash] -> rows, quarantine, an index
    index (id, content hash, label, size of each row) -> the driver drops duplicates -> a plan
    rows + plan -> [parts.Copier] -> pool/... and oracle/..., in source order

What lies between is in `staging/<split>/<task>/<domain>/<hash of what was asked>`: a run that was
killed goes on, one whose sources changed starts anew. Names and order do not depend on the
cluster. The manifest is written last: it is there when all else is.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.ingest.parts import (
    CONTENTS,
    PartWriter,
    StagedIndex,
    content_words,
    plan_parts,
    read_staged_index,
)
from umc_ray.ingest.sources import (
    IMAGES,
    TABLES,
    BadRow,
    SourceFile,
    common_folder,
    list_files,
)
from umc_ray.ingest.stage import Reader, split_work, write_quarantine
from umc_ray.ingest.validate import Rejected, Rules, rules_of
from umc_ray.methods.identity import UNKNOWN, fingerprint
from umc_ray.records import DomainKey, Part, Split
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Files = Mapping[str, Sequence[SourceFile]]
"""The files of each source."""


@dataclass(frozen=True)
class Manifest:
    """What became of the rows of a domain's pool or test split.

    Of the rows read, each is kept (rows), the duplicate of a kept one, a leak or bad.
    """

    parts: tuple[Part, ...]
    rows: int
    duplicates: int
    conflicts: int  # kept rows whose duplicates had another label; the first known one counts
    leaks: int  # rows of the pool that are also in the test split: dropped
    bad: int
    reasons: dict[str, int]  # kinds of bad rows
    labeled: int  # kept rows with a known label
    sources: dict[str, int]  # files of each source
    fingerprint: str  # of ids and contents, in their order


def ingest(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    on_rows: OnRows | None = None,
) -> Manifest:
    """Bring a domain's sources into the run directory, once; later calls read the manifest.

    The test split is brought in first, so that the pool can leave out what is in it.

    Raises:
        ConfigError: the domain's columns do not fit its sources, or it has no such split.
        DataError: a source is missing, empty or has other columns, or too many rows are bad.
    """
    if storage.exists(_manifest_key(domain_key, split)):
        _clear_up(storage, domain_key, split)
        return load_manifest(storage, domain_key, split)
    rules = rules_of(config, domain_key, split)
    hidden_F2 = _hidden_contents(config, domain_key, split, storage, on_rows)
    files = _list_files(config, rules, storage)
    reader = _begin(rules, storage, files, [config.ingest.rows_per_part, _digest(hidden_F2)])
    items = range(storage.read_json(f"{reader.staging}/begun.json")["items"])
    summaries = stream(reader, items, Compute(), on_rows)
    staged = read_staged_index(reader, summaries, hidden_F2)
    bad = _BadRows.of(summaries, _quarantine_repeated(rules, staged))
    bad.check(rules, len(staged.found.kept_R), config.ingest.max_bad_share)
    parts = plan_parts(staged, reader, config.ingest.rows_per_part)
    has_answers = bool(rules.label or rules.ratings)
    stream(PartWriter(storage, reader.staging, has_answers), parts, Compute())
    manifest = _sum_up(staged, parts, bad, files)
    _finish(manifest, rules, staged, storage)
    return manifest


def load_manifest(storage: Storage, domain_key: DomainKey, split: Split) -> Manifest:
    """Read what `ingest` found.

    Raises:
        StoreError: it has not finished.
    """
    if not storage.exists(_manifest_key(domain_key, split)):
        raise StoreError(f"{domain_key} {split} has not been ingested into {storage.root}")
    document = storage.read_json(_manifest_key(domain_key, split))
    parts = tuple(Part(split, domain_key, name, rows) for name, rows in document.pop("parts"))
    return Manifest(parts=parts, **document)


def _clear_up(storage: Storage, domain_key: DomainKey, split: Split) -> None:
    """Delete what lay between, also after a run that was killed with the manifest just written."""
    storage.delete(f"staging/{split}/{domain_key}")


def _manifest_key(domain_key: DomainKey, split: Split) -> str:
    return f"pool/{split}/{domain_key}/manifest.json"


def _contents_key(domain_key: DomainKey) -> str:
    return f"contents/test/{domain_key}.parquet"


def _hidden_contents(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    on_rows: OnRows | None,
) -> npt.NDArray[np.uint64]:
    """Return the content hashes of the test split, which no row of the pool may have."""
    if split == "test" or config.domains()[domain_key].test is None:
        return np.empty((0, 2), dtype=np.uint64)
    ingest(config, domain_key, "test", storage, on_rows)
    return content_words(storage.read_table(_contents_key(domain_key)))


def _list_files(config: CampaignConfig, rules: Rules, storage: Storage) -> Files:
    domain = config.domains()[rules.domain_key]
    sources = domain.source if rules.split == "pool" else domain.test
    if sources is None:
        raise ConfigError(f"{rules.domain_key} names no test split")
    suffixes = IMAGES if rules.are_images else TABLES
    named = [sources] if isinstance(sources, str) else sources
    return list_files(named, suffixes, without=storage.root)


def _begin(rules: Rules, storage: Storage, files: Files, asked: list[Any]) -> Reader:
    """Store the work to do, unless it is there; what was left of any other work goes first."""
    listed = [asdict(file) for found in files.values() for file in found]
    within = f"{rules.split}/{rules.domain_key}"
    staging = f"staging/{within}/{fingerprint([rules.kind.name, asdict(rules), listed, asked])}"
    if not storage.exists(f"{staging}/begun.json"):
        for table in ("staging", "quarantine", "pool", "oracle"):
            storage.delete(f"{table}/{within}")
        works = split_work([file["uri"] for file in listed], rules.are_images)
        keys = [f"{staging}/work/{item:06d}.json" for item in range(len(works))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(storage.write_json, keys, works))
        storage.write_json(f"{staging}/begun.json", {"items": len(works)})
    return Reader(storage, staging, common_folder(files), rules)


def _quarantine_repeated(rules: Rules, staged: StagedIndex) -> list[Rejected]:
    """Store rows whose key an earlier row has."""
    positions = np.flatnonzero(staged.found.repeated_N)
    rows = staged.chunks.take(positions, ["source", "row", "key"]).to_pylist()
    repeated = [
        Rejected(row["source"], row["row"], BadRow("repeated key", row["key"])) for row in rows
    ]
    if repeated:
        write_quarantine(staged.chunks.storage, rules, "repeated", repeated)
    return repeated


@dataclass(frozen=True)
class _BadRows:
    """What there is to say about the rows that cannot be used."""

    rows: int  # read, good or bad
    reasons: Counter[str]
    first: list[str]
    broken_share: float  # of the items of work

    @classmethod
    def of(cls, summaries: Sequence[Summary], repeated: Sequence[Rejected]) -> Self:
        """Add up what the readers found and what only the driver can see."""
        reasons = Counter(row.reason.kind for row in repeated)
        for summary in summaries:
            reasons.update(summary["reasons"])
        rows = sum(summary["rows"] for summary in summaries)
        first = [line for summary in summaries for line in summary["first"]]
        first += [str(row) for row in repeated[:3]]
        broken_share = reasons["unreadable file"] / len(summaries)
        return cls(rows, reasons, first[:3], broken_share)

    def check(self, rules: Rules, kept: int, max_share: float) -> None:
        """Stop if too much is bad; how many rows a broken file held is not known: it counts too.

        Raises:
            DataError: with the counts and the first reasons.
        """
        where = f"{rules.domain_key} {rules.split}"
        told = "; ".join(self.first)
        if not kept:
            told = told or ("all are in the test split" if self.rows else "the sources are empty")
            raise DataError(f"{where}: no usable row among {self.rows}: {told}")
        bad = self.reasons.total()
        share = max(bad / self.rows, self.broken_share)
        if share > max_share:
            raise DataError(
                f"{where}: {bad} of {self.rows} rows and {self.broken_share:.1%} of the files are "
                f"bad, ingest.max_bad_share allows {max_share:.1%}: {told}; all are in "
                f"quarantine/{rules.split}/{rules.domain_key}"
            )


def _sum_up(staged: StagedIndex, parts: Sequence[Part], bad: _BadRows, files: Files) -> Manifest:
    found = staged.found
    return Manifest(
        parts=tuple(parts),
        rows=len(found.kept_R),
        duplicates=int((found.represented_by_N >= 0).sum()) - len(found.kept_R),
        conflicts=found.conflicts,
        leaks=int(found.leaked_N.sum()),
        bad=bad.reasons.total(),
        reasons=dict(bad.reasons.most_common()),
        labeled=int((found.labels_R != UNKNOWN).sum()),
        sources={source: len(listed) for source, listed in files.items()},
        fingerprint=_digest(staged.ids_R, staged.contents_R2),
    )


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _finish(manifest: Manifest, rules: Rules, staged: StagedIndex, storage: Storage) -> None:
    """Store the manifest, and first what the pool must know of a test split; clear up."""
    if rules.split == "test":
        contents = pa.table(list(staged.contents_R2.T), CONTENTS)
        storage.write_table(_contents_key(rules.domain_key), contents)
    parts = [[part.name, part.rows] for part in manifest.parts]
    document = {**asdict(manifest), "parts": parts}
    storage.write_json(_manifest_key(rules.domain_key, rules.split), document)
    _clear_up(storage, rules.domain_key, rules.split)
    logger.info(
        "ingest %s %s: %d rows kept, %d duplicates, %d leaks, %d bad",
        *(rules.domain_key, rules.split, manifest.rows),
        *(manifest.duplicates, manifest.leaks, manifest.bad),
    )
