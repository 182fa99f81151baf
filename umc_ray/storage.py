"""The run directory: files that are written once and atomically, on a local disk or on s3://.

A stage's output appears under its final name only when it is complete: on a local disk through a
rename, on an object store because a put is atomic. So a stage is done if its file exists.
"""

import errno
import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, wraps
from itertools import takewhile
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pydantic

from umc_ray.atomic import DRAFT, write_file
from umc_ray.errors import StoreError
from umc_ray.json_records import Record, as_values, from_json
from umc_ray.retries import RETRY
from umc_ray.seals import REMEDY, Seal, Seals, seal_of, stamp

logger = logging.getLogger(__name__)

Filters = list[tuple[str, str, Any]]
"""Conditions that must all hold, such as ("sample_id", "in", [1, 2])."""

_VERIFIED: dict[str, tuple[int, int]] = {}
"""Local tables whose pages this process has verified, by path: their state then."""

P = ParamSpec("P")
Result = TypeVar("Result")
Method = Callable[Concatenate["Storage", str, P], Result]


def _with_retries(verb: str) -> Callable[[Method[P, Result]], Method[P, Result]]:
    """Retry a method on transient errors, and turn lasting ones into StoreError."""

    def decorate(method: Method[P, Result]) -> Method[P, Result]:
        @wraps(method)
        def call(self: "Storage", key: str, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            try:
                return RETRY(method, self, key, *args, **kwargs)
            except (OSError, pa.ArrowException) as error:
                reason = _reason(error)
                raise StoreError(f"cannot {verb} {key} in {self.root}: {reason}") from error

        return call

    return decorate


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}; free some space and run again: finished work is kept"
    if "CRC checksum verification failed" in str(error):
        return f"a page of it is damaged; {REMEDY}"
    return str(error)


@lru_cache(maxsize=16)
def _filesystem(root: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI, and the path within it."""
    if "://" not in root:
        return pafs.LocalFileSystem(), str(Path(root).absolute())
    try:
        filesystem, path = RETRY(pafs.FileSystem.from_uri, root)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"cannot open storage {root!r}: {error}") from error
    return filesystem, path


def deepest_common_folder(folders: Iterable[Sequence[str]]) -> str:
    """Return the deepest folder that contains all folders, each given as a list of names."""
    common = takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    return "/".join(names[0] for names in common)


@dataclass(frozen=True)
class Storage:
    """A folder of files, named by keys such as rounds/0003/batch.parquet; cheap to pickle."""

    root: str

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a local disk."""
        return isinstance(_filesystem(self.root)[0], pafs.LocalFileSystem)

    def path(self, key: str) -> str:
        """Return the path of a key within its file system."""
        return f"{_filesystem(self.root)[1].rstrip('/')}/{key}"

    def within(self, key: str) -> Self:
        """Return the folder at a key as a storage of its own."""
        return type(self)(f"{self.root.rstrip('/')}/{key}")

    @_with_retries("look up")
    def exists(self, key: str) -> bool:
        """Whether a file exists at the key."""
        info = _filesystem(self.root)[0].get_file_info(self.path(key))
        return bool(info.type == pafs.FileType.File)

    @_with_retries("look up")
    def size(self, key: str) -> int:
        """Return the size of a file, in bytes.

        Raises:
            StoreError: there is no such file.
        """
        info = _filesystem(self.root)[0].get_file_info(self.path(key))
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(f"no file {key}")
        return int(info.size)

    @_with_retries("list")
    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the sizes of all files below a folder, by key; empty if it does not exist."""
        filesystem = _filesystem(self.root)[0]
        selector = pafs.FileSelector(self.path(prefix), recursive=True, allow_not_found=True)
        start = len(self.path(""))
        infos = filesystem.get_file_info(selector)
        files = [each for each in infos if each.is_file and not each.path.endswith(DRAFT)]
        return {each.path[start:]: int(each.size) for each in files}

    def keys(self, prefix: str) -> list[str]:
        """Return the sorted keys of all files below a folder; empty if it does not exist."""
        return sorted(self.sizes(prefix))

    @_with_retries("list")
    def stamps(self, folder: str) -> dict[str, str]:
        """Return size and time of each file right in a folder, by key; empty if it is not there."""
        filesystem = _filesystem(self.root)[0]
        selector = pafs.FileSelector(self.path(folder).rstrip("/"), allow_not_found=True)
        start = len(self.path(""))
        return {
            info.path[start:]: f"{info.size} {info.mtime_ns}"
            for info in filesystem.get_file_info(selector)
            if info.type == pafs.FileType.File
        }

    @_with_retries("read")
    def read_bytes(self, key: str) -> bytes:
        """Read a whole file.

        Raises:
            StoreError: the file does not exist or cannot be read.
        """
        with _filesystem(self.root)[0].open_input_stream(self.path(key)) as stream:
            data = bytes(stream.read())
        self._seals.check(key, pa.BufferReader(data))
        return data

    @_with_retries("write")
    def write_bytes(self, key: str, data: bytes | memoryview) -> None:
        """Write a file atomically.

        Raises:
            StoreError: it cannot be written, for example because the disk is full.
        """
        sealed = self._seals.of(key) is not None
        self._seals.remove([key] if sealed else [])
        write_file(_filesystem(self.root)[0], self.path(key), data)
        if sealed:
            self._seals.add({key: seal_of(key, pa.BufferReader(data))})

    @_with_retries("copy")
    def copy(self, key: str, source: "Storage") -> None:
        """Take a file over from another folder; on one disk, both then name the same file."""
        if self.is_local and source.is_local:
            path = Path(self.path(key))
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # another disk, or one without links
                path.hardlink_to(source.path(key))
                return
        self.write_bytes(key, source.read_bytes(key))

    @_with_retries("delete")
    def delete(self, prefix: str) -> None:
        """Delete a folder and all files below it, if it exists."""
        self._seals.remove_folder(prefix)
        with suppress(FileNotFoundError):
            _filesystem(self.root)[0].delete_dir(self.path(prefix))

    @_with_retries("delete")
    def delete_file(self, key: str) -> None:
        """Delete a file, if it exists."""
        self._seals.remove([key])
        with suppress(FileNotFoundError):
            _filesystem(self.root)[0].delete_file(self.path(key))

    def read_json(self, key: str) -> Any:  # noqa: ANN401 - a JSON document can be anything
        """Read a JSON document.

        Raises:
            StoreError: the file is missing, or is no JSON.
        """
        try:
            return json.loads(self.read_bytes(key))
        except ValueError as error:
            raise StoreError(f"{key} of {self.root} is no JSON: {error}; {REMEDY}") from error

    def write_json(self, key: str, value: Any, if_new: bool = False) -> None:  # noqa: ANN401
        """Write a JSON document; `if_new`: unless the same is there."""
        data = json.dumps(value, indent=1, sort_keys=True).encode()
        if not (if_new and self.exists(key) and self.read_bytes(key) == data):
            self.write_bytes(key, data)

    def read_record(self, key: str, kind: type[Record]) -> Record:
        """Read a document that `write_record` wrote, as the dataclass that it was.

        Raises:
            StoreError: the file is missing, or does not hold such a record.
        """
        try:
            return from_json(kind, self.read_bytes(key))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"])
            said = f"{where}: {problem['msg']}" if where else problem["msg"]
            raise StoreError(f"{key} of {self.root} is not a {kind.__name__}: {said}") from error

    def write_record(self, key: str, value: object) -> None:
        """Write a dataclass, with all that is in it, as a JSON document."""
        self.write_json(key, as_values(value))

    @_with_retries("read")
    def read_table(
        self, key: str, columns: list[str] | None = None, filters: Filters | None = None
    ) -> pa.Table:
        """Read a Parquet file: all of it, some columns, or the rows that match the filters."""
        source = self._open(key)
        if filters is not None:
            return pq.read_table(
                source,
                columns=columns,
                filters=filters,
                partitioning=None,
                page_checksum_verification=True,
            )
        # The planner of `pq.read_table` would add half of the time that reading a part takes.
        path, state = self.path(key), stamp(_filesystem(self.root)[0], self.path(key))
        file = pq.ParquetFile(
            source,
            pre_buffer=not self.is_local,
            # That takes as long as reading, and rounds read the same features again.
            page_checksum_verification=not self.is_local or _VERIFIED.get(path) != state,
        )
        table = file.read(columns, use_threads=False)
        if columns is None:
            _VERIFIED[path] = state
        return table

    @_with_retries("read")
    def read_schema(self, key: str) -> pa.Schema:
        """Read the schema of a Parquet file and its metadata; reads only the footer."""
        return pq.read_schema(self._open(key))

    @_with_retries("read")
    def count_rows(self, key: str) -> int:
        """Return the number of rows of a Parquet file; reads only the footer."""
        return int(pq.read_metadata(self._open(key)).num_rows)

    def write_table(self, key: str, table: pa.Table) -> None:
        """Write a Parquet file; dictionaries would slow down ids, scores and embeddings."""
        sink = io.BytesIO()
        pq.write_table(
            table, sink, use_dictionary=False, compression="lz4", write_page_checksum=True
        )
        self.write_bytes(key, sink.getbuffer())

    def seal(self, keys: Iterable[str]) -> None:
        """Record what files without a seal are now: later readers are told if one has changed."""
        new = {key: self.seal_now(key) for key in keys if not self.is_sealed(key)}
        self._add_seals(next(iter(new), ""), new)

    @_with_retries("seal")
    def _add_seals(self, key: str, seals: Mapping[str, Seal]) -> None:
        self._seals.add(seals)

    @_with_retries("look up the seal of")
    def is_sealed(self, key: str) -> bool:
        """Whether a file has a seal."""
        return self._seals.of(key) is not None

    @_with_retries("unseal")
    def unseal(self, folder: str) -> None:
        """Forget the seals of a folder whose files are about to change elsewhere."""
        self._seals.remove_folder(folder)

    @_with_retries("read")
    def seals(self, prefix: str) -> dict[str, Seal]:
        """Return the seals of all files whose key begins with a prefix, as far as one can read."""
        return {key: seal for key, seal in self._seals.all().items() if key.startswith(prefix)}

    @_with_retries("read")
    def damaged_seals(self, prefix: str) -> dict[str, str]:
        """Say why files of seals cannot be read, by their own keys, which begin with a prefix."""
        return {key: why for key, why in self._seals.damaged().items() if key.startswith(prefix)}

    @_with_retries("verify")
    def verify(self, key: str) -> None:
        """Read all of a file, to compare it with its seal and its pages with their checksums.

        Raises:
            StoreError: it is damaged.
        """
        source = self._open(key)
        if key.endswith(".parquet"):
            for _ in pq.ParquetFile(source, page_checksum_verification=True).iter_batches():
                pass

    @_with_retries("seal")
    def seal_now(self, key: str) -> Seal:
        """Return what the seal of a file would be, as it is."""
        return seal_of(key, self._raw(key))

    @property
    def _seals(self) -> Seals:
        return Seals(_filesystem(self.root)[0], self.path("").rstrip("/"))

    def _open(self, key: str) -> pa.NativeFile:
        """Open a file that is as it was when it was sealed."""
        source = self._raw(key)
        self._seals.check(key, source)
        return source

    def _raw(self, key: str) -> pa.NativeFile:
        if self.is_local:
            return pa.memory_map(self.path(key))
        return _filesystem(self.root)[0].open_input_file(self.path(key))

    @_with_retries("append to")
    def append_line(self, key: str, line: str) -> None:
        """Append a line to a log; only one process may write to it."""
        if self.is_local:
            path = Path(self.path(key))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            return
        before = self.read_bytes(key) if self.exists(key) else b""
        self.write_bytes(key, before + line.encode() + b"\n")
