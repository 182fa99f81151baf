"""Ingest the sources of a domain into the parts of its pool, in two passes over the cluster.

    sources -> work items -> [stage.Reader: read, check, hash] -> rows, quarantine, index
    index (id, content hash, label, size of each row) -> the driver drops duplicates -> plan
    rows + plan -> [parts.PartWriter] -> pool/... and oracle/..., in source order

Intermediate files are in `staging/<split>/<task>/<domain>/<fingerprint of files and settings>`. A
run that was killed resumes; a run whose sources changed starts over. File names and row order do
not depend on the cluster. The manifest is written last: if it exists, everything else does.
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

from umc_ray.cluster.stream import Compute, Follow, stream
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.ingest.changes import find_changes, remember
from umc_ray.ingest.notes import Note, add_notes
from umc_ray.ingest.parts import (
    CONTENTS,
    PartWriter,
    StagedIndex,
    content_words,
    plan_parts,
    read_staged_index,
)
from umc_ray.ingest.progress import rows_read
from umc_ray.ingest.sampling import expected_rows
from umc_ray.ingest.sources import (
    BadRow,
    Listing,
    SourceFile,
    common_folder,
    list_files,
)
from umc_ray.ingest.stage import Reader, ReadSummary, split_work, write_quarantine
from umc_ray.ingest.validate import Rejected, Rules, rules_of
from umc_ray.methods.identity import UNKNOWN, fingerprint
from umc_ray.records import DomainKey, Part, Split
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Files = Mapping[str, Sequence[SourceFile]]
"""The files of each source."""


@dataclass(frozen=True)
class Manifest:
    """The result of ingesting a domain's pool or test split.

    Each row that was read is kept (`rows`), a duplicate of a kept row, a leak, or bad.
    """

    parts: tuple[Part, ...]
    rows: int
    duplicates: int
    conflicts: int  # kept rows whose duplicates have another label; the first known one counts
    leaks: int  # rows dropped from the pool because they are in a test split of the task
    bad: int
    reasons: dict[str, int]  # number of bad rows by reason
    labeled: int  # kept rows with a known label
    sources: dict[str, int]  # number of files by source
    fingerprint: str  # of all ids and contents, in order
    notes: tuple[Note, ...] = ()


def ingest(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    follow: Follow | None = None,
) -> Manifest:
    """Ingest a domain's sources into the run directory; later calls only read the manifest.

    The test splits of the task are ingested first: their samples are left out of the pool.

    Raises:
        ConfigError: the domain's columns do not fit its sources, or it has no such split.
        DataError: a source is missing or empty, lacks a column, or has too many bad rows.
    """
    if is_ingested(storage, domain_key, split):
        _delete_staging(storage, domain_key, split)
        _say_changes(config, domain_key, split, storage)
        return load_manifest(storage, domain_key, split)
    rules = rules_of(config, domain_key, split)
    forbidden_F2 = _test_contents(config, domain_key, split, storage, follow)
    listing = _list_files(config, rules, storage)
    files = listing.files
    reader = _plan_work(rules, storage, files, [config.ingest.rows_per_part, _digest(forbidden_F2)])
    items = range(storage.read_json(f"{reader.staging}/begun.json")["items"])
    listed = [file for each in files.values() for file in each]
    summaries = _read(reader, items, listed, follow)
    staged = read_staged_index(reader, summaries, forbidden_F2)
    notes = add_notes(listing.notes, (summary.notes for summary in summaries))
    bad = _BadRows.of(summaries, _quarantine_repeated(rules, staged))
    bad.check(rules, len(staged.found.kept_R), config.ingest.max_bad_share)
    parts = plan_parts(staged, reader, config.ingest.rows_per_part)
    has_answers = bool(rules.label or rules.ratings)
    writer = PartWriter(storage, reader.staging, has_answers, bool(rules.keep))
    stream(writer, parts, Compute())
    manifest = _build_manifest(staged, parts, bad, files, notes)
    remember(storage, split, str(domain_key), listed)
    _store_manifest(manifest, rules, staged, storage)
    return manifest


def _read(
    reader: Reader, items: Sequence[int], files: Sequence[SourceFile], follow: Follow | None
) -> list[ReadSummary]:
    """Run the first pass."""
    if follow is None:
        return stream(reader, items, Compute())
    with rows_read(reader, follow(expected_rows(files, reader.rules.are_images))) as on_rows:
        return stream(reader, items, Compute(), on_rows)


def _say_changes(
    config: CampaignConfig, domain_key: DomainKey, split: Split, storage: Storage
) -> None:
    """Warn if the sources are not what was read from them any more."""
    try:
        files = _list_files(config, rules_of(config, domain_key, split), storage).files
    except DataError as error:
        logger.warning("%s %s: %s; the pool keeps what was read", domain_key, split, error)
        return
    now = (file for each in files.values() for file in each)
    for line in find_changes(storage, split, str(domain_key), now).lines():
        logger.warning("%s %s: %s", domain_key, split, line)


def is_ingested(storage: Storage, domain_key: DomainKey, split: Split = "pool") -> bool:
    """Return whether a domain's pool or test split is in the run directory."""
    return storage.exists(_manifest_key(domain_key, split))


def load_manifest(storage: Storage, domain_key: DomainKey, split: Split) -> Manifest:
    """Read the manifest that `ingest` stored.

    Raises:
        StoreError: the ingest has not finished.
    """
    if not is_ingested(storage, domain_key, split):
        raise StoreError(f"{domain_key} {split} has not been ingested into {storage.root}")
    document = storage.read_json(_manifest_key(domain_key, split))
    parts = tuple(Part(split, domain_key, name, rows) for name, rows in document.pop("parts"))
    notes = tuple(Note(**note) for note in document.pop("notes", []))
    return Manifest(parts=parts, notes=notes, **document)


def _delete_staging(storage: Storage, domain_key: DomainKey, split: Split) -> None:
    """Delete intermediate files, including those of a run that was killed before it did so."""
    storage.delete(f"staging/{split}/{domain_key}")


def _manifest_key(domain_key: DomainKey, split: Split) -> str:
    return f"pool/{split}/{domain_key}/manifest.json"


def _contents_key(domain_key: DomainKey) -> str:
    return f"contents/test/{domain_key}.parquet"


def _test_contents(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    follow: Follow | None,
) -> npt.NDArray[np.uint64]:
    """Return the content hashes of the task's test splits; no row with these is in a pool."""
    found = [np.empty((0, 2), dtype=np.uint64)]
    for key, domain in config.domains().items() if split == "pool" else ():
        if key.task == domain_key.task and domain.test is not None:
            if key == domain_key or not is_ingested(storage, key, "test"):
                ingest(config, key, "test", storage, follow)
            found.append(content_words(storage.read_table(_contents_key(key))))
    return np.concatenate(found)


def _list_files(config: CampaignConfig, rules: Rules, storage: Storage) -> Listing:
    sources = config.domains()[rules.domain_key].sources(rules.split)
    if not sources:
        raise ConfigError(f"{rules.domain_key} has no test split")
    return list_files(sources, rules.suffixes, exclude=storage.root)


def _plan_work(rules: Rules, storage: Storage, files: Files, settings: list[Any]) -> Reader:
    """Store the work items unless they exist; deletes the results of any other ingest first."""
    listed = [asdict(file) for of_source in files.values() for file in of_source]
    within = f"{rules.split}/{rules.domain_key}"
    asked = [rules.kind.name, asdict(rules), listed, settings]
    staging = f"staging/{within}/{fingerprint(asked)}"
    if not storage.exists(f"{staging}/begun.json"):
        for table in ("staging", "quarantine", "pool", "oracle", "kept"):
            storage.delete(f"{table}/{within}")
        items = split_work([file["uri"] for file in listed], rules.are_images)
        keys = [f"{staging}/work/{item:06d}.json" for item in range(len(items))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(storage.write_record, keys, items))
        storage.write_json(f"{staging}/begun.json", {"items": len(items)})
    return Reader(storage, staging, common_folder(files), rules)


def _quarantine_repeated(rules: Rules, staged: StagedIndex) -> list[Rejected]:
    """Quarantine rows whose key an earlier row already has."""
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
    """Counts and examples of the rows that cannot be used."""

    rows: int  # all that were read, good or bad
    reasons: Counter[str]
    examples: list[str]
    broken_share: float  # unreadable files / work items

    @classmethod
    def of(cls, summaries: Sequence[ReadSummary], repeated: Sequence[Rejected]) -> Self:
        """Add up the bad rows of the readers and the repeated keys that only the driver can see."""
        reasons = Counter(row.reason.kind for row in repeated)
        for summary in summaries:
            reasons.update(summary.reasons)
        rows = sum(summary.rows for summary in summaries)
        examples = [line for summary in summaries for line in summary.first]
        examples += [str(row) for row in repeated[:3]]
        broken_share = reasons["unreadable file"] / len(summaries)
        return cls(rows, reasons, examples[:3], broken_share)

    def check(self, rules: Rules, kept: int, max_share: float) -> None:
        """Raise if too many rows are bad.

        The number of rows in an unreadable file is unknown, so the share of files counts as well.

        Raises:
            DataError: too many rows are bad, or none is usable; with the first reasons.
        """
        where, reasons = f"{rules.domain_key} {rules.split}", "; ".join(self.examples)
        if not kept:
            default = "all are in test splits" if self.rows else "the sources are empty"
            raise DataError(f"{where}: no usable row among {self.rows}: {reasons or default}")
        bad = self.reasons.total()
        share = max(bad / self.rows, self.broken_share)
        if share > max_share:
            raise DataError(
                f"{where}: {bad} of {self.rows} rows and {self.broken_share:.1%} of the files are "
                f"bad, ingest.max_bad_share allows {max_share:.1%}: {reasons}; see all of them in "
                f"quarantine/{rules.split}/{rules.domain_key}"
            )


def _build_manifest(
    staged: StagedIndex,
    parts: Sequence[Part],
    bad: _BadRows,
    files: Files,
    notes: tuple[Note, ...],
) -> Manifest:
    duplicates = staged.found
    return Manifest(
        parts=tuple(parts),
        rows=len(duplicates.kept_R),
        duplicates=duplicates.duplicates,
        conflicts=duplicates.conflicts,
        leaks=int(duplicates.leaked_N.sum()),
        bad=bad.reasons.total(),
        reasons=dict(bad.reasons.most_common()),
        labeled=int((duplicates.labels_R != UNKNOWN).sum()),
        sources={source: len(listed) for source, listed in files.items()},
        fingerprint=_digest(staged.ids_R, staged.contents_R2),
        notes=notes,
    )


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _store_manifest(
    manifest: Manifest, rules: Rules, staged: StagedIndex, storage: Storage
) -> None:
    """Store the manifest, after the content hashes of a test split; then delete staging files."""
    if rules.split == "test":
        contents = pa.table(list(staged.contents_R2.T), CONTENTS)
        storage.write_table(_contents_key(rules.domain_key), contents)
    parts = [[part.name, part.rows] for part in manifest.parts]
    document = {**asdict(manifest), "parts": parts}
    storage.write_json(_manifest_key(rules.domain_key, rules.split), document)
    _delete_staging(storage, rules.domain_key, rules.split)
    logger.info(
        "ingest %s %s: %d rows kept, %d duplicates, %d leaks, %d bad",
        *(rules.domain_key, rules.split, manifest.rows),
        *(manifest.duplicates, manifest.leaks, manifest.bad),
    )
    for note in manifest.notes:
        logger.info("ingest %s %s: %s", rules.domain_key, rules.split, note)
