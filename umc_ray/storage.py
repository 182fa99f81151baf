"""The run directory: files that are written once and atomically, on a local disk or on s3://.

A stage's output appears under its final name only when it is complete: on a local disk through a
rename, on an object store because a put is atomic. So a stage is done if its file exists.
"""

import errno
import io
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pydantic
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from umc_ray.errors import StoreError

logger = logging.getLogger(__name__)

Filters = list[tuple[str, str, Any]]
"""Conditions that must all hold, such as ("sample_id", "in", [1, 2])."""

DRAFT = ".draft"
"""Suffix of a file that is being written, or whose writer was killed."""

TRANSIENT_S3_ERROR = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE"
    r"|INTERNAL_FAILURE|UNKNOWN \(HTTP status (429|5\d\d)\))"
)
"""S3 errors that are worth a retry; the clients of Google and Azure retry by themselves."""


def _is_transient(error: BaseException) -> bool:
    """Whether an error comes from the network or a busy store rather than from the request."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if not isinstance(error, OSError):
        return False
    stale = error.errno == errno.ESTALE  # the server of a network disk was restarted
    return stale or (error.errno is None and TRANSIENT_S3_ERROR.search(str(error)) is not None)


RETRY = Retrying(
    retry=retry_if_exception(_is_transient),
    stop=stop_after_attempt(8),  # about 90 seconds, in addition to the S3 client's own retries
    wait=wait_random_exponential(max=30),  # random, so that workers do not all retry at once
    before_sleep=before_sleep_log(logger, logging.WARNING),
    reraise=True,
)

P = ParamSpec("P")
Record = TypeVar("Record")
Result = TypeVar("Result")
Method = Callable[Concatenate["Storage", str, P], Result]


def _with_retries(verb: str) -> Callable[[Method[P, Result]], Method[P, Result]]:
    """Retry a method on transient errors, and turn lasting ones into StoreError."""

    def decorate(method: Method[P, Result]) -> Method[P, Result]:
        @wraps(method)
        def call(self: "Storage", key: str, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            try:
                return RETRY(method, self, key, *args, **kwargs)
            except (OSError, pa.ArrowInvalid) as error:
                reason = _reason(error)
                raise StoreError(f"cannot {verb} {key} in {self.root}: {reason}") from error

        return call

    return decorate


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}; free some space and run again: finished work is kept"
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


def to_json(value: object) -> bytes:
    """Write a dataclass, with all that is in it, as JSON."""
    kind: Any = type(value)
    return _adapter(kind).dump_json(value)


def from_json(kind: type[Record], data: bytes) -> Record:
    """Read what `to_json` wrote.

    Raises:
        pydantic.ValidationError: it is not such a record.
    """
    record: Record = _adapter(kind).validate_json(data)  # type: ignore[arg-type]
    return record


def _dumped(value: object) -> Any:  # noqa: ANN401 - any JSON value
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:  # noqa: ANN401 - a dataclass
    """Return what turns a dataclass into JSON values and back."""
    return pydantic.TypeAdapter(kind)


def deepest_common_folder(folders: Iterable[Sequence[str]]) -> str:
    """Return the deepest folder that contains all folders, each given as a list of names."""
    common = []
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return "/".join(common)


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
    def keys(self, prefix: str) -> list[str]:
        """Return the sorted keys of all files below a folder; empty if it does not exist."""
        filesystem = _filesystem(self.root)[0]
        selector = pafs.FileSelector(self.path(prefix), recursive=True, allow_not_found=True)
        start = len(self.path(""))
        infos = filesystem.get_file_info(selector)
        paths = [info.path for info in infos if info.type == pafs.FileType.File]
        return sorted(path[start:] for path in paths if not path.endswith(DRAFT))

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
            return bytes(stream.read())

    @_with_retries("write")
    def write_bytes(self, key: str, data: bytes | memoryview) -> None:
        """Write a file atomically.

        Raises:
            StoreError: it cannot be written, for example because the disk is full.
        """
        filesystem, path = _filesystem(self.root)[0], self.path(key)
        if not self.is_local:
            with filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        draft = f"{path}.{uuid.uuid4().hex}{DRAFT}"
        try:
            with open(draft, "wb") as file:
                file.write(data)
            os.replace(draft, path)
        finally:
            Path(draft).unlink(missing_ok=True)

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
        with suppress(FileNotFoundError):
            _filesystem(self.root)[0].delete_dir(self.path(prefix))

    @_with_retries("delete")
    def delete_file(self, key: str) -> None:
        """Delete a file, if it exists."""
        with suppress(FileNotFoundError):
            _filesystem(self.root)[0].delete_file(self.path(key))

    def read_json(self, key: str) -> Any:  # noqa: ANN401 - a JSON document can be anything
        """Read a JSON document."""
        return json.loads(self.read_bytes(key))

    def write_json(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Write a JSON document."""
        self.write_bytes(key, json.dumps(value, indent=1, sort_keys=True).encode())

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
        self.write_json(key, _dumped(value))

    @_with_retries("read")
    def read_table(
        self, key: str, columns: list[str] | None = None, filters: Filters | None = None
    ) -> pa.Table:
        """Read a Parquet file: all of it, some columns, or the rows that match the filters."""
        filesystem, path = _filesystem(self.root)[0], self.path(key)
        if filters is not None:
            return pq.read_table(
                path, columns=columns, filters=filters, filesystem=filesystem, partitioning=None
            )
        # The planner of `pq.read_table` would add half of the time that reading a part takes.
        source = pa.memory_map(path) if self.is_local else filesystem.open_input_file(path)
        return pq.ParquetFile(source, pre_buffer=not self.is_local).read(columns, use_threads=False)

    @_with_retries("read")
    def read_schema(self, key: str) -> pa.Schema:
        """Read the schema of a Parquet file and its metadata; reads only the footer."""
        return pq.read_schema(self.path(key), filesystem=_filesystem(self.root)[0])

    @_with_retries("read")
    def count_rows(self, key: str) -> int:
        """Return the number of rows of a Parquet file; reads only the footer."""
        path, filesystem = self.path(key), _filesystem(self.root)[0]
        return int(pq.read_metadata(path, filesystem=filesystem).num_rows)

    def write_table(self, key: str, table: pa.Table) -> None:
        """Write a Parquet file.

        Dictionary encoding is off: it is slow on ids and scores, and it slows down reading
        fixed-width embeddings.
        """
        sink = io.BytesIO()
        pq.write_table(table, sink, use_dictionary=False, compression="lz4")
        self.write_bytes(key, sink.getbuffer())

    @_with_retries("append to")
    def append_line(self, key: str, line: str) -> None:
        """Append a line to a log; only one process may write to it."""
        if self.is_local:
            path = Path(self.path(key))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            return
        existing = self.read_bytes(key) if self.exists(key) else b""
        self.write_bytes(key, existing + line.encode() + b"\n")
