"""Which files of a domain's sources are not what was read from them."""

import os.path
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from umc_ray.config.domain import DomainConfig
from umc_ray.console import first_of
from umc_ray.ingest.manifest import read_manifest
from umc_ray.ingest.sources import SourceFile
from umc_ray.records import DomainKey, Split
from umc_ray.storage import Storage

FILES = pa.schema([("uri", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())])


@dataclass(frozen=True)
class Changes:
    """The files that a domain's sources gained, lost, or have with another size or time.

    `before` has what the changed and the vanished ones were called when they were read; `moved`:
    no file is where it was.
    """

    new: tuple[SourceFile, ...] = ()
    changed: tuple[SourceFile, ...] = ()
    vanished: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    moved: bool = False

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*(file.uri for file in (*self.changed, *self.new)), *self.vanished]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.new or self.changed or self.vanished)


def remember(
    storage: Storage, split: Split, domain_key: DomainKey, generation: int, files: list[SourceFile]
) -> None:
    """Store which files a split of a domain was read from."""
    rows = [(file.uri, file.size, file.mtime_ns) for file in files]
    columns = zip(*rows, strict=True) if rows else ([] for _ in FILES)
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, FILES, strict=True)], FILES)
    storage.write_table(_key(split, domain_key, generation), table)


def find_changes(
    storage: Storage,
    split: Split,
    domain_key: DomainKey,
    generation: int,
    now: Iterable[SourceFile],
) -> Changes:
    """Compare the files that there are now with those that were read.

    Sources that were moved as a whole are the same if the files in them are. Before the first
    ingest, generation -1, all files are new.
    """
    if generation < 0:
        return Changes(new=tuple(now))
    table = storage.read_table(_key(split, domain_key, generation))
    before = {row["uri"]: SourceFile(**row) for row in table.to_pylist()}
    found = {file.uri: file for file in now}
    moved = not before.keys() & found.keys()
    if moved:
        before, found = _relative(before), _relative(found)
    both = before.keys() & found.keys()
    changed = sorted(name for name in both if _differ(before[name], found[name], moved))
    vanished = sorted(before.keys() - both)
    return Changes(
        new=tuple(found[name] for name in sorted(found.keys() - both)),
        changed=tuple(found[name] for name in changed),
        vanished=tuple(before[name].uri for name in vanished),
        before=tuple(before[name].uri for name in (*changed, *vanished)),
        moved=moved,
    )


def files_read(storage: Storage, split: Split, domain_key: DomainKey) -> list[str]:
    """Return the files that a split of a domain was read from."""
    generation = read_manifest(storage, domain_key, split).generation
    table = storage.read_table(_key(split, domain_key, generation), ["uri"])
    uris: list[str] = table["uri"].to_pylist()
    return uris


def shared_files(
    domains: Mapping[DomainKey, DomainConfig], files: Mapping[DomainKey, Collection[str]]
) -> Iterator[str]:
    """Name the files from which two domains of a task read the same samples."""
    read = {key: {*uris} for key, uris in files.items()}
    for first, second in combinations(read, 2):
        one, other = domains[first], domains[second]
        are_same = (first.task, one.sample) == (second.task, other.sample)
        both = sorted(read[first] & read[second]) if are_same else []
        if both:
            yield (
                f"{first} and {second} both read {first_of(both)}: each sample is asked about "
                "twice; leave the file out of one of them"
            )


def _differ(before: SourceFile, now: SourceFile, moved: bool) -> bool:
    """Compare two states; copies have new times, so only their sizes say whether they differ."""
    return before.size != now.size or (not moved and before.mtime_ns != now.mtime_ns)


def _relative(files: Mapping[str, SourceFile]) -> dict[str, SourceFile]:
    """Name files by their places below the folder that they have in common."""
    folders = [uri.rsplit("/", 1)[0] for uri in files]
    root = os.path.commonpath(folders) if folders else ""
    return {os.path.relpath(uri, root): file for uri, file in files.items()}


def _key(split: Split, domain_key: DomainKey, generation: int) -> str:
    return f"sources/{split}/{domain_key}/{generation:04d}.parquet"
