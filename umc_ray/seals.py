"""Seals: the size and the checksum of files, recorded when the stage that wrote them is done.

    seals/<folder>.json     of the files of a folder, of three levels at most

A file that has a seal is compared with it whenever it is read. The checksum is the CRC-32 of all
bytes; of a large Parquet file, of its end, which has its footer: its pages have checksums of their
own. Of those, a process verifies what it reads; what it has verified as a whole, once.
"""

import json
import os
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs

from umc_ray.atomic import write_file

FOLDER = "seals"
LEVELS = 3

LARGE = 1 << 18
TAIL = 1 << 16
"""Of a Parquet file above LARGE bytes, so many at its end are in its checksum."""

REMEDY = (
    "umc repair recomputes what can be recomputed; anything else has to come back from a backup"
)


OF_LOST_SEALS = "umc repair computes again what follows from other files, and names the rest"


class Damaged(OSError):
    """A file is not as it was when it was sealed."""


@dataclass(frozen=True)
class Seal:
    """What a file was when its stage was done."""

    size: int
    checksum: int


@dataclass(frozen=True)
class Seals:
    """The seals of a folder; `root` is its path in the file system."""

    filesystem: pafs.FileSystem
    root: str

    def of(self, key: str, fresh: bool = False) -> Seal | None:
        """Return the seal of a file, if it has one; `fresh`: as it is stored, not as remembered."""
        return self._group(group_of(key), fresh).get(key)

    def all(self) -> dict[str, Seal]:
        """Return the seals of all files of seals that can be read, by key."""
        found: dict[str, Seal] = {}
        for path in self._files(FOLDER):
            with suppress(Damaged):
                found |= self._read(path)
        return found

    def damaged(self) -> dict[str, str]:
        """Say why files of seals cannot be read, by key."""
        found: dict[str, str] = {}
        for path in self._files(FOLDER):
            try:
                self._read(path)
            except Damaged as error:
                found[path[len(self.root) + 1 :]] = str(error).partition(": ")[2]
        return found

    def check(self, key: str, source: pa.NativeFile) -> None:
        """Compare an open file with its seal.

        Raises:
            Damaged: it is another one.
        """
        if self.of(key) is None:
            return
        found = seal_of(key, source)
        if self.of(key) != found and (seal := self.of(key, fresh=True)) not in (None, found):
            assert seal is not None
            how = (
                f"it has {found.size} bytes, {seal.size} were stored"
                if found.size != seal.size
                else "its checksum is not that of what was stored"
            )
            raise Damaged(f"{how}; {REMEDY}")

    def add(self, seals: Mapping[str, Seal]) -> None:
        """Store seals."""
        groups: dict[str, dict[str, Seal]] = {}
        for key, seal in seals.items():
            groups.setdefault(group_of(key), {})[key] = seal
        with _LOCK:
            for group, new in groups.items():
                self._write(group, {**self._group(group, fresh=True), **new})

    def remove(self, keys: Iterable[str]) -> None:
        """Forget the seals of files that are about to change."""
        for key in keys:
            if self.of(key) is not None:
                with _LOCK:
                    known = self._group(group_of(key), fresh=True)
                    self._write(group_of(key), {k: s for k, s in known.items() if k != key})

    def remove_folder(self, folder: str) -> None:
        """Forget the seals of all files below a folder."""
        above = self._group(group_of(f"{folder}/x"))
        self.remove([key for key in above if key.startswith(f"{folder}/")])
        for path in self._files(f"{FOLDER}/{folder}"):
            self._delete(path)

    def _files(self, folder: str) -> list[str]:
        below = pafs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        found = [each.path for each in self.filesystem.get_file_info(below)]
        return sorted(path for path in found if path.endswith(".json"))

    def _delete(self, path: str) -> None:
        self.filesystem.delete_file(path)
        _REMEMBERED.pop(path, None)

    def _group(self, group: str, fresh: bool = False) -> dict[str, Seal]:
        path = self._path(group)
        state = stamp(self.filesystem, path)
        remembered = _REMEMBERED.get(path)
        if remembered is None or fresh or remembered[0] != state:
            remembered = _REMEMBERED[path] = (state, self._read(path))
        return remembered[1]

    def _read(self, path: str) -> dict[str, Seal]:
        there = self.filesystem.get_file_info(path).type
        if there == pafs.FileType.NotFound:
            return {}
        if there != pafs.FileType.File:
            raise Damaged(f"{path} is damaged: it is no file: move it away; {OF_LOST_SEALS}")
        with self.filesystem.open_input_stream(path) as stream:
            data = bytes(stream.read())
        try:
            document = json.loads(data)
            files: dict[str, list[int]] = document["files"]
            if document["checksum"] != _checksum_of(files):
                raise ValueError("its checksum is another one")
            return {key: Seal(*values) for key, values in files.items()}
        except (ValueError, TypeError, KeyError) as error:
            raise Damaged(f"{path} is damaged: {error}; {OF_LOST_SEALS}") from error

    def _write(self, group: str, seals: Mapping[str, Seal]) -> None:
        path = self._path(group)
        files = {key: [seal.size, seal.checksum] for key, seal in sorted(seals.items())}
        document = {"checksum": _checksum_of(files), "files": files}
        write_file(self.filesystem, path, json.dumps(document, indent=0).encode())
        _REMEMBERED[path] = (stamp(self.filesystem, path), dict(seals))

    def _path(self, group: str) -> str:
        return f"{self.root}/{FOLDER}/{group}.json"


def seals_key(key: str) -> str:
    """Name the file that has the seal of a file."""
    return f"{FOLDER}/{group_of(key)}.json"


def group_of(key: str) -> str:
    """Name the folder whose seals are stored together; of a file in no folder, the file."""
    return "/".join(key.split("/")[:-1][:LEVELS]) or key


def seal_of(key: str, source: pa.NativeFile) -> Seal:
    """Compute the seal of an open file."""
    size = source.size()
    if size <= LARGE or not key.endswith(".parquet"):
        return Seal(size, zlib.crc32(source.read_at(size, 0)))
    tail = source.read_at(TAIL, size - TAIL)
    footer = min(int.from_bytes(tail[-8:-4], "little") + 8, size)
    if footer > TAIL:
        tail = source.read_at(footer, size - footer)
    return Seal(size, zlib.crc32(tail))


def _checksum_of(files: Mapping[str, Sequence[int]]) -> int:
    return zlib.crc32(json.dumps(files, sort_keys=True).encode())


def stamp(filesystem: pafs.FileSystem, path: str) -> tuple[int, int]:
    """Return what changes with a local file; an object store would have to be asked each time."""
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return (0, 0)
    try:
        state = os.stat(path)
    except OSError:
        return (-1, -1)
    return state.st_ino, state.st_mtime_ns


_LOCK = threading.Lock()
_REMEMBERED: dict[str, tuple[tuple[int, int], dict[str, Seal]]] = {}
"""Seals as they were read, by the path of their file."""
