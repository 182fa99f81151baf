"""Whether the sources of a domain are still what was read from them."""

import os.path
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from umc_ray.config.task import DomainConfig
from umc_ray.ingest.sources import SourceFile
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

FILES = pa.schema([("uri", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())])
SHOWN = 3


@dataclass(frozen=True)
class Changes:
    """The files that a domain's sources gained, lost, or have with another content."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say what changed, and what that means."""
        said = (
            (self.new, "new and not in the pool; to add them, give them a domain of their own"),
            (self.changed, "changed since they were read; the pool keeps what was read"),
            (self.vanished, "gone; the pool keeps what was read"),
        )
        return [f"source files {what}: {_some(files)}" for files, what in said if files]


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{', '.join(files[:SHOWN])}{more}"


def remember(storage: Storage, split: str, domain: str, files: Iterable[SourceFile]) -> None:
    """Store which files a split of a domain was read from."""
    rows = [(file.uri, file.size, file.mtime_ns) for file in files]
    columns = zip(*rows, strict=True) if rows else ([] for _ in FILES)
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, FILES, strict=True)], FILES)
    storage.write_table(_key(split, domain), table)


def find_changes(storage: Storage, split: str, domain: str, now: Iterable[SourceFile]) -> Changes:
    """Compare the files that there are now with those that were read.

    Sources that were moved as a whole are the same if the files in them are.
    """
    table = storage.read_table(_key(split, domain))
    before = {row["uri"]: (row["size"], row["mtime_ns"]) for row in table.to_pylist()}
    found = {file.uri: (file.size, file.mtime_ns) for file in now}
    if not before.keys() & found.keys():
        # Copies are written anew: only their sizes say whether they are the same.
        before = {name: (size, 0) for name, (size, _) in _relative(before).items()}
        found = {name: (size, 0) for name, (size, _) in _relative(found).items()}
    both = before.keys() & found.keys()
    return Changes(
        new=tuple(sorted(found.keys() - both)),
        changed=tuple(sorted(name for name in both if before[name] != found[name])),
        vanished=tuple(sorted(before.keys() - both)),
    )


def files_read(storage: Storage, split: str, domain: str) -> list[str]:
    """Return the files that a split of a domain was read from."""
    uris: list[str] = storage.read_table(_key(split, domain), ["uri"])["uri"].to_pylist()
    return uris


def shared_files(
    domains: Mapping[DomainKey, DomainConfig], files: Mapping[DomainKey, Collection[str]]
) -> Iterator[str]:
    """Name the files from which two domains of a task read the same samples."""
    read = {key: {*uris} for key, uris in files.items()}
    for first, second in combinations(read, 2):
        one, other = domains[first], domains[second]
        are_same = (first.task, one.text, one.image) == (second.task, other.text, other.image)
        both = sorted(read[first] & read[second]) if are_same else []
        if both:
            yield (
                f"{first} and {second} both read {_some(both)}: each sample is asked about twice; "
                "leave the file out of one of them"
            )


def _relative(files: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Name files by their places below the folder that they have in common."""
    folders = [uri.rsplit("/", 1)[0] for uri in files]
    root = os.path.commonpath(folders) if folders else ""
    return {os.path.relpath(uri, root): state for uri, state in files.items()}


def _key(split: str, domain: str) -> str:
    return f"sources/{split}/{domain}.parquet"
