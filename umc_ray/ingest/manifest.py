"""What ingesting a domain's pool or test split gave, as it is stored; written last.

    pool/<split>/<task>/<domain>/manifest.json
    index/<split>/<task>/<domain>/<generation>     ids, contents and labels of all usable rows
    sources/<split>/<task>/<domain>/<generation>   the files that were read, and their state

A generation is the first ingest, 0, or one of the times when the sources had grown. A manifest
names its generation, so a reader never sees half of one.
"""

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from umc_ray.errors import StoreError
from umc_ray.ingest.notes import Note, add_notes
from umc_ray.methods.identity import add_fingerprints, fingerprint_of_rows
from umc_ray.records import DomainKey, Part, Split
from umc_ray.storage import Storage

INDEX = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("content_1", pa.uint64()),
        ("content_2", pa.uint64()),
        ("label", pa.string()),
    ]
)


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
    fingerprint: str  # of all ids and contents, in any order
    notes: tuple[Note, ...] = ()
    roots: tuple[str, ...] = ()  # the folders that sources were in: keys are relative to the last
    generation: int = 0  # how often the sources had changed; -1: nothing was read yet

    @property
    def was_read(self) -> bool:
        """Whether the sources were read."""
        return self.generation >= 0

    def with_more(self, more: "Manifest") -> "Manifest":
        """Return what both have read, the other one later."""
        reasons = Counter(self.reasons) + Counter(more.reasons)
        return Manifest(
            parts=(*self.parts, *more.parts),
            rows=self.rows + more.rows,
            duplicates=self.duplicates + more.duplicates,
            conflicts=self.conflicts + more.conflicts,
            leaks=self.leaks + more.leaks,
            bad=self.bad + more.bad,
            reasons=dict(reasons.most_common()),
            labeled=self.labeled + more.labeled,
            sources=more.sources,
            fingerprint=add_fingerprints(self.fingerprint, more.fingerprint),
            notes=add_notes([*self.notes, *more.notes]),
            roots=more.roots,
            generation=more.generation,
        )


NOTHING = Manifest(
    (),
    0,
    0,
    0,
    0,
    0,
    {},
    0,
    {},
    fingerprint_of_rows(np.empty(0, np.int64), np.empty((0, 2), np.uint64)),
    generation=-1,
)
"""What was read before the first ingest."""


def is_ingested(storage: Storage, domain_key: DomainKey, split: Split = "pool") -> bool:
    """Return whether a domain's pool or test split is in the run directory."""
    return storage.exists(_manifest_key(domain_key, split))


def read_manifest(storage: Storage, domain_key: DomainKey, split: Split) -> Manifest:
    """Read the manifest, or NOTHING if there is none yet."""
    if is_ingested(storage, domain_key, split):
        return load_manifest(storage, domain_key, split)
    return NOTHING


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
    roots = tuple(document.pop("roots", []))
    return Manifest(parts=parts, notes=notes, roots=roots, **document)


def store_manifest(
    storage: Storage, domain_key: DomainKey, split: Split, manifest: Manifest, index: pa.Table
) -> None:
    """Store a manifest, after the index of the rows that its generation read."""
    columns = index.select(INDEX.names).replace_schema_metadata(None)
    storage.write_table(_index_key(domain_key, split, manifest.generation), columns)
    parts = [[part.name, part.rows] for part in manifest.parts]
    storage.write_json(_manifest_key(domain_key, split), {**asdict(manifest), "parts": parts})


def read_index(storage: Storage, domain_key: DomainKey, split: Split, generation: int) -> pa.Table:
    """Return the rows that were read up to a generation, in the columns of INDEX."""
    keys = [_index_key(domain_key, split, number) for number in range(generation + 1)]
    return pa.concat_tables([INDEX.empty_table(), *map(storage.read_table, keys)])


def _manifest_key(domain_key: DomainKey, split: Split) -> str:
    return f"pool/{split}/{domain_key}/manifest.json"


def _index_key(domain_key: DomainKey, split: Split, generation: int) -> str:
    return f"index/{split}/{domain_key}/{generation:04d}.parquet"
