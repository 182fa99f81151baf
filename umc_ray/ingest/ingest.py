"""Ingest the sources of a domain into the parts of its pool, in two passes over the cluster.

    sources -> work items -> [stage.Reader: read, check, hash] -> rows, quarantine, index
    index (id, content hash, label, size of each row) -> the driver drops duplicates -> plan
    rows + plan -> [parts.PartWriter] -> pool/... and oracle/..., in source order

Intermediate files are in `staging/<split>/<task>/<domain>/<fingerprint of files and settings>`. A
run that was killed resumes; a run whose sources changed starts over. File names and row order do
not depend on the cluster. The manifest is written last: if it exists, everything else does. Later
calls read only files that are new or changed, and add parts.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from umc_ray.cluster.stream import Compute, Follow, stream
from umc_ray.config.campaign import CampaignConfig, IngestConfig
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.bad_rows import BadRows, new_bad_rows
from umc_ray.ingest.changes import Changes, find_changes, remember
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.ingest.groups import check_groups
from umc_ray.ingest.growth import ADVICE, Growth, check_kept, gone_samples
from umc_ray.ingest.layouts.registry import list_split, with_layouts
from umc_ray.ingest.manifest import Manifest, read_index, read_manifest, store_manifest
from umc_ray.ingest.notes import Note, notes_of
from umc_ray.ingest.parts import (
    Chunks,
    PartWriter,
    StagedIndex,
    content_words,
    find_duplicates,
    plan_parts,
    read_staged,
)
from umc_ray.ingest.progress import rows_read
from umc_ray.ingest.sampling import expected_rows
from umc_ray.ingest.sources import BadRow, Listing, SourceFile, common_folder
from umc_ray.ingest.stage import Reader, ReadSummary, split_work, write_quarantine
from umc_ray.ingest.validate import Rejected, Rules, rules_of
from umc_ray.methods.identity import UNKNOWN, fingerprint, fingerprint_of_rows, is_forbidden
from umc_ray.records import DomainKey, Split
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

POOL_TEST: tuple[Split, Split] = ("pool", "test")

JOINED = "samples that joined after the first start"

Words = npt.NDArray[np.uint64]


def ingest(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    follow: Follow | None = None,
) -> Manifest:
    """Ingest a domain's sources into the run directory; later calls add what the sources gained.

    The test splits of the task are ingested first: their samples are left out of the pool. What is
    in a pool already is left out of a test that comes later.

    Raises:
        ConfigError: the domain's columns do not fit its sources, or it has no such split.
        DataError: a source is missing or empty, lacks a column, or has too many bad rows or
            groups; or what was read from it has changed or is gone.
    """
    rules = rules_of(config, domain_key, split)
    tested_F2 = (
        _pool_contents(config, domain_key, storage)
        if split == "test"
        else _test_contents(config, domain_key, split, storage, follow)
    )
    before = read_manifest(storage, domain_key, split)
    rules, listing = _list_files(config, rules, storage, before)
    changes = find_changes(storage, split, domain_key, before.generation, listing.all)
    manifest = before
    if changes or not before.was_read:
        reading = _Reading(config.ingest, rules, storage, before, listing, changes)
        manifest = reading.read(tested_F2, follow)
    storage.delete(f"staging/{split}/{domain_key}")  # a run that was killed may have left some
    return manifest


def _read(
    reader: Reader, items: Sequence[int], files: Sequence[SourceFile], follow: Follow | None
) -> list[ReadSummary]:
    """Run the first pass."""
    if follow is None:
        return stream(reader, items, Compute())
    with rows_read(reader, follow(expected_rows(files, reader.rules.are_images))) as on_rows:
        return stream(reader, items, Compute(), on_rows)


def _test_contents(
    config: CampaignConfig,
    domain_key: DomainKey,
    split: Split,
    storage: Storage,
    follow: Follow | None,
) -> Words:
    """Return the content hashes of the task's test splits; no row with these is in a pool."""
    found = [np.empty((0, 2), dtype=np.uint64)]
    for key, domain in config.domains().items() if split == "pool" else ():
        if key.task == domain_key.task and domain.test is not None:
            test = read_manifest(storage, key, "test")
            if key == domain_key or not test.was_read:
                test = ingest(config, key, "test", storage, follow)
            found.append(content_words(read_index(storage, key, "test", test.generation)))
    return np.concatenate(found)


def _pool_contents(config: CampaignConfig, domain_key: DomainKey, storage: Storage) -> Words:
    """Return the content hashes of the pools of the task that are ingested.

    Rows of a source that were left out of its pool because they are in a test are not among them.
    """
    words: dict[Split, list[Words]] = {split: [np.empty((0, 2), np.uint64)] for split in POOL_TEST}
    for split, found in words.items():
        for key in (key for key in config.domains() if key.task == domain_key.task):
            known = read_manifest(storage, key, split)
            if known.was_read:
                found.append(content_words(read_index(storage, key, split, known.generation)))
    pool_F2, test_F2 = (np.concatenate(found) for found in words.values())
    in_pool_F2: Words = pool_F2[~is_forbidden(pool_F2, test_F2)]
    return in_pool_F2


def _list_files(
    config: CampaignConfig, rules: Rules, storage: Storage, before: Manifest
) -> tuple[Rules, Listing]:
    """List the files to read, and complete the rules by what they show."""
    sources = config.domains()[rules.domain_key].sources(rules.split)
    if not sources:
        raise ConfigError(f"{rules.domain_key} has no test split")
    try:
        rules = with_layouts(rules, sources)
        return rules, list_split(rules, sources, exclude=storage.root)
    except DataError as error:
        if not before.was_read:
            raise
        if config.ingest.changed_sources == "error":
            raise DataError(f"{rules.domain_key} {rules.split}: {error}. {ADVICE}") from error
        logger.warning("%s; going on with what was read", error)
        return rules, Listing({source: [] for source in sources}, Counter())


@dataclass(frozen=True)
class _Reading:
    """What is read now of a domain's sources, beside what was read before."""

    config: IngestConfig
    rules: Rules
    storage: Storage
    before: Manifest
    listing: Listing
    changes: Changes

    @property
    def within(self) -> str:
        return f"{self.rules.split}/{self.rules.domain_key}"

    def read(self, tested_F2: Words, follow: Follow | None) -> Manifest:
        """Add new rows to what was read before; returns the new manifest, which is stored."""
        reader, items = self._plan(tested_F2)
        summaries = _read(reader, range(items), self._files(), follow)
        growth = self._compared(reader, items)
        if self.before.was_read and self.rules.split == "test":
            manifest = self._unchanged()
        else:
            manifest = self._extended(reader, summaries, growth, tested_F2)
        if self.rules.split == "pool":  # before the manifest, which binds the run to these columns
            check_groups(self.storage, manifest.parts, self.rules.groups)
        self._store(manifest, growth)
        return manifest

    def _plan(self, tested_F2: Words) -> tuple[Reader, int]:
        """Store the work items unless they exist; deletes the results of any other ingest first."""
        files = [asdict(file) for file in self._files()]
        settings = [self.config.rows_per_part, _digest(tested_F2), self.before.generation]
        asked = [self.rules.kind.name, asdict(self.rules), files, settings]
        staging = f"staging/{self.within}/{fingerprint(asked)}"
        if not self.storage.exists(f"{staging}/begun.json"):
            self._delete_unfinished()
            items = split_work([file["uri"] for file in files], self.rules.are_images)
            keys = [f"{staging}/work/{item:06d}.json" for item in range(len(items))]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(self.storage.write_record, keys, items))
            self.storage.write_json(f"{staging}/begun.json", {"items": len(items)})
        quarantine = "quarantine" if not self.before.was_read else f"{staging}/quarantine"
        folder = f"{quarantine}/{self.within}"
        reader = Reader(self.storage, staging, self._root(), self.rules, folder)
        return reader, self.storage.read_json(f"{staging}/begun.json")["items"]

    def _delete_unfinished(self) -> None:
        """Delete what an earlier ingest has left that did not reach its manifest."""
        self.storage.delete(f"staging/{self.within}")
        tables = ("pool", "oracle", "kept")
        if not self.before.was_read:
            for table in ("quarantine", *tables):
                self.storage.delete(f"{table}/{self.within}")
            return
        known = {part.name for part in self.before.parts}
        for key in (key for table in tables for key in self.storage.keys(f"{table}/{self.within}")):
            name = key.rsplit("/", 1)[-1].removesuffix(".parquet")
            if key.endswith(".parquet") and name not in known:
                self.storage.delete_file(key)

    def _files(self) -> list[SourceFile]:
        """Return the files to read, in the order of the sources."""
        read_now = {file.uri for file in (*self.changes.new, *self.changes.changed)}
        return [file for file in self.listing.all if file.uri in read_now]

    def _root(self) -> str:
        """Return the folder that keys are relative to: it stays, unless all sources moved."""
        if self.before.was_read and not self.changes.moved:
            return self.before.roots[-1]
        return common_folder(self.listing.files)

    def _compared(self, reader: Reader, items: int) -> Growth:
        """Compare what was read now with what was read before.

        Raises:
            DataError: something has changed or is gone that may not.
        """
        rules, before = self.rules, self.before
        known = read_index(self.storage, rules.domain_key, rules.split, before.generation)
        forgotten = forgotten_ids(self.storage)
        growth = Growth.of(read_staged(reader, items), known, forgotten)
        if before.was_read:
            there = np.union1d(growth.index["sample_id"].to_numpy(), forgotten)
            gone = gone_samples(self.storage, before.parts, self.changes, there)
            keep = self.config.changed_sources == "keep"
            check_kept(rules, self.changes, growth, gone, keep)
        return growth

    def _unchanged(self) -> Manifest:
        """Return what was read before, with the files that there are now."""
        sources = {source: len(files) for source, files in self.listing.files.items()}
        generation = self.before.generation + 1
        roots = tuple(each for each in self.before.roots if each != self._root())
        roots = (*roots, self._root())
        return replace(self.before, sources=sources, roots=roots, generation=generation)

    def _extended(
        self,
        reader: Reader,
        summaries: Sequence[ReadSummary],
        growth: Growth,
        tested_F2: Words,
    ) -> Manifest:
        """Write the parts of the new rows; returns what was read before and now."""
        chunks = Chunks.of(reader, summaries)
        staged = find_duplicates(growth.index, chunks, growth.hidden_F2(tested_F2))
        found = staged.found
        bad = self._bad_rows(reader, staged, summaries)
        bad.check(self.rules, len(found.kept_R) + self.before.rows, self.config.max_bad_share)
        first = len(self.before.parts)
        parts = plan_parts(staged, reader, self.config.rows_per_part, first)
        has_answers = bool(self.rules.label or self.rules.ratings)
        has_embeddings = self.rules.embedding is not None
        writer = PartWriter(
            self.storage, reader.staging, has_answers, bool(self.rules.keep), has_embeddings
        )
        stream(writer, parts, Compute())
        leaks, duplicates = growth.dropped(found.leaked_N, tested_F2)
        if self.rules.split == "test" and leaks:
            logger.warning(
                "%s test: %d rows are in a pool of the task already and do not count",
                self.rules.domain_key,
                leaks,
            )
        now = replace(
            self._unchanged(),
            parts=tuple(parts),
            rows=len(found.kept_R),
            duplicates=found.duplicates + duplicates,
            conflicts=found.conflicts,
            leaks=leaks,
            bad=bad.reasons.total(),
            reasons=dict(bad.reasons.most_common()),
            labeled=int((found.labels_R != UNKNOWN).sum()),
            fingerprint=fingerprint_of_rows(staged.ids_R, staged.contents_R2),
            notes=self._notes(summaries, len(found.kept_R)),
        )
        return self.before.with_more(now)

    def _bad_rows(
        self, reader: Reader, staged: StagedIndex, summaries: Sequence[ReadSummary]
    ) -> BadRows:
        """Count the rows that cannot be used; those that were known before count once."""
        repeated = _quarantine_repeated(reader, staged)
        if not self.before.was_read:
            return BadRows.of(summaries, repeated)
        folder = f"quarantine/{self.within}"
        name = f"{folder}/later-{self.before.generation + 1:04d}.parquet"
        bad = new_bad_rows(self.storage, reader.quarantine, folder, name)
        if len(bad):
            self.storage.write_table(name, bad)
        return BadRows.of_table(bad, len(staged.found.kept_R), len(summaries))

    def _notes(self, summaries: Sequence[ReadSummary], joined: int) -> tuple[Note, ...]:
        """Return what had to be decided; rows that are read again were counted before."""
        if not self.before.was_read:
            return notes_of(self.listing.notes, *(summary.notes for summary in summaries))
        return (Note(JOINED, joined),) if joined else ()

    def _store(self, manifest: Manifest, growth: Growth) -> None:
        """Store the manifest, after all that it speaks of."""
        domain_key, split = self.rules.domain_key, self.rules.split
        remember(self.storage, split, domain_key, manifest.generation, self.listing.all)
        fresh = growth.fresh if manifest.rows > self.before.rows else growth.fresh[:0]
        store_manifest(self.storage, domain_key, split, manifest, fresh)
        logger.info(
            "ingest %s %s: %d rows kept, %d duplicates, %d leaks, %d bad",
            *(domain_key, split, manifest.rows),
            *(manifest.duplicates, manifest.leaks, manifest.bad),
        )
        for note in manifest.notes:
            logger.info("ingest %s %s: %s", domain_key, split, note)


def _quarantine_repeated(reader: Reader, staged: StagedIndex) -> list[Rejected]:
    """Quarantine rows whose key an earlier row already has."""
    positions = np.flatnonzero(staged.found.repeated_N)
    rows = staged.chunks.take(positions, ["source", "row", "key"]).to_pylist()
    repeated = [
        Rejected(row["source"], row["row"], BadRow("repeated key", row["key"])) for row in rows
    ]
    if repeated:
        write_quarantine(reader.storage, f"{reader.quarantine}/repeated.parquet", repeated)
    return repeated


def _digest(words_F2: Words) -> str:
    return hashlib.blake2b(np.ascontiguousarray(words_F2).data, digest_size=16).hexdigest()
