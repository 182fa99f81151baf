"""Look at a source before it is read: names in its folders, and how its files begin."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from umc_ray.errors import DataError
from umc_ray.ingest.sources import SourceFile, locate
from umc_ray.ingest.text_files import HEAD_BYTES, encoding_of, read_head

TAIL_BYTES = 1 << 12
LOOKED_AT = 8


@dataclass(frozen=True)
class Place:
    """A file or a folder, local or on s3://, and what is not looked for in it."""

    uri: str
    ignored: tuple[str, ...] = ()  # how the names of files end that are passed over

    @property
    def name(self) -> str:
        """The last step of the path."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self._info.type == pafs.FileType.File)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return bool(self._info.type == pafs.FileType.Directory)

    @property
    def state(self) -> SourceFile:
        """The file as it is now."""
        return SourceFile(self.uri, self._info.size or 0, self._info.mtime_ns or 0)

    @cached_property
    def _info(self) -> pafs.FileInfo:
        filesystem, path = locate(self.uri)
        try:
            return filesystem.get_file_info(path.rstrip("/") or "/")
        except OSError as error:
            raise DataError(f"cannot look up {self.uri}: {error}") from error

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What is in a folder, sorted, but nothing hidden; nothing in a file."""
        if not self.is_folder:
            return ()
        return _names(self.uri)

    def below(self, *steps: str) -> "Place":
        """Return a file or folder in it, which need not be there."""
        return Place("/".join((self.uri.rstrip("/"), *steps)), self.ignored)

    def has(self, *names: str) -> bool:
        """Return whether all these are in it."""
        return set(names) <= set(self.names)

    def ending(self, *suffixes: str) -> tuple[str, ...]:
        """Return the names in it with one of these endings."""
        found = (name for name in self.names if name.lower().endswith(suffixes))
        return tuple(name for name in found if not name.lower().endswith(self.ignored))

    def head(self, size: int = HEAD_BYTES) -> str:
        """Return how a text file begins; nothing where it cannot be read."""
        try:
            found = read_head(self.uri, size)
        except (OSError, pa.ArrowException):
            return ""
        return found.decode(encoding_of(found, None), "replace")

    def tail(self) -> str:
        """Return how a text file ends; nothing where it cannot be read."""
        try:
            filesystem, path = locate(self.uri)
            with filesystem.open_input_file(path) as file:
                file.seek(max(0, file.size() - TAIL_BYTES))
                return bytes(file.read()).decode("utf-8", "replace")
        except (OSError, pa.ArrowException):
            return ""

    def first_line(self) -> str:
        """Return the first line of a text file, without its end."""
        lines = self.head().splitlines()
        return lines[0] if lines else ""

    def schema(self) -> pa.Schema | None:
        """Return the schema of a Parquet file or an Arrow stream; None where there is none."""
        filesystem, path = locate(self.uri)
        try:
            if self.uri.lower().endswith(".parquet"):
                return pq.read_schema(path, filesystem=filesystem)
            with filesystem.open_input_file(path) as stream:
                is_file = stream.read(6) == b"ARROW1"
                stream.seek(0)
                with pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream) as reader:
                    return reader.schema
        except (OSError, pa.ArrowException):
            return None

    def files(self, *suffixes: str) -> Iterator["Place"]:
        """Yield itself if it is a file of such an ending, or the ones in it."""
        if self.is_file:
            if self.name.lower().endswith(suffixes):
                yield self
            return
        yield from (self.below(name) for name in self.ending(*suffixes))

    def first_files(self, *suffixes: str) -> Iterator["Place"]:
        """Yield a few of these: what is in a folder of thousands is told by the first ones."""
        return islice(self.files(*suffixes), LOOKED_AT)


@lru_cache(maxsize=256)
def _listed(uri: str, state: int) -> tuple[str, ...]:
    filesystem, path = locate(uri)
    folder = path.rstrip("/") or "/"
    if isinstance(filesystem, pafs.LocalFileSystem):  # which would look up each file
        names = os.listdir(folder)
    else:
        names = [info.base_name for info in filesystem.get_file_info(pafs.FileSelector(folder))]
    return tuple(sorted(name for name in names if not name.startswith(".")))


def _names(uri: str) -> tuple[str, ...]:
    """List a folder; several layouts ask for the same ones."""
    filesystem, path = locate(uri)
    try:
        state = filesystem.get_file_info(path.rstrip("/") or "/").mtime_ns or 0
        return _listed(uri, state)
    except OSError as error:
        raise DataError(f"cannot list {uri}: {error}") from error
