"""Source files of samples, local or on s3://: listing them and reading images."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from umc_ray.errors import DataError
from umc_ray.storage import deepest_common_folder

_TEXTS = (".jsonl", ".ndjson", ".csv", ".tsv")
TABLES = (".parquet", *_TEXTS, *(f"{suffix}.gz" for suffix in _TEXTS))
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class BadRow(DataError):
    """A row that cannot be used; `kind` is the reason it is counted under."""

    def __init__(self, kind: str, detail: str = "") -> None:
        """Keep the detail short and on one line: it may contain data from a broken file."""
        self.kind = kind
        text = " ".join(detail.split())
        super().__init__(f"{kind}: {text[:200]}" if text else kind)


@dataclass(frozen=True)
class SourceFile:
    """A file and its state when the sources were listed."""

    uri: str
    size: int
    mtime_ns: int


@lru_cache(maxsize=64)
def _bucket(scheme: str, bucket: str) -> pafs.FileSystem:
    return pafs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI, and the path within it; any character is allowed.

    Raises:
        BadRow: the kind of file system is not supported.
        DataError: the file system cannot be reached.
    """
    scheme, path = uri.split("://", 1) if "://" in uri else ("file", uri)
    if scheme == "file":
        return pafs.LocalFileSystem(), path
    try:
        return _bucket(scheme, path.split("/", 1)[0]), path
    except pa.ArrowInvalid as error:
        raise BadRow("unsupported address", f"{uri}: {error}") from error
    except OSError as error:
        raise DataError(f"cannot open {uri}: {error}") from error


def list_files(
    sources: Sequence[str], suffixes: tuple[str, ...], exclude: str
) -> dict[str, list[SourceFile]]:
    """Return the files of each source; a source is a file, a glob or a folder.

    Files are sorted within a source; a file in two sources belongs to the first. The folder
    `exclude`, where results are stored, is skipped even if it lies within a source.

    Raises:
        DataError: a source does not exist, has no matching file, or has the wrong suffix.
    """
    files: dict[str, list[SourceFile]] = {}
    seen: set[str] = set()
    for source in sources:
        listed = _list_source(source, suffixes, exclude.rstrip("/") + "/")
        files[source] = [file for file in listed if file.uri not in seen]
        seen.update(file.uri for file in listed)
    return files


def _list_source(source: str, suffixes: tuple[str, ...], exclude: str) -> list[SourceFile]:
    filesystem, path = locate(source)
    path = path.rstrip("/") or "/"
    prefix = source[: source.index("://") + 3] if "://" in source else ""
    info = _info(filesystem, path, source)
    if info.type == pafs.FileType.File:
        if not _has_suffix(path, suffixes):
            raise DataError(f"{source} does not end in one of {' '.join(suffixes)}")
        return [SourceFile(source, info.size, info.mtime_ns or 0)]
    if info.type == pafs.FileType.Directory:
        folder, pattern = path, ["**"]
    else:
        folder, pattern = _split_glob(path)
        if not pattern:
            raise DataError(f"{source} does not exist")
    everything = _walk(filesystem, folder, source)
    files = [
        replace(file, uri=prefix + file.uri)
        for file in everything
        if _has_suffix(file.uri, suffixes)
        and not (prefix + file.uri).startswith(exclude)
        and _is_selected(file.uri[len(folder) :].strip("/").split("/"), pattern)
    ]
    if not files:
        raise DataError(
            f"{source} matches no file that ends in {' '.join(suffixes)}; "
            f"{folder} holds {len(everything)} files"
        )
    return sorted(files, key=lambda file: file.uri)


def _info(filesystem: pafs.FileSystem, path: str, source: str) -> pafs.FileInfo:
    try:
        return filesystem.get_file_info(path)
    except OSError as error:
        raise DataError(f"cannot look up {source}: {error}") from error


def _walk(filesystem: pafs.FileSystem, folder: str, source: str) -> list[SourceFile]:
    """Return all files below a folder; empty if it does not exist."""
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    try:
        return [
            SourceFile(info.path, info.size, info.mtime_ns or 0)
            for info in filesystem.get_file_info(selector)
            if info.type == pafs.FileType.File
        ]
    except (OSError, UnicodeDecodeError) as error:  # a name that is not UTF-8
        raise DataError(f"cannot list {source}: {error}") from error


def _has_suffix(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes)


def _split_glob(path: str) -> tuple[str, list[str]]:
    """Split a path before the first segment with a wildcard."""
    steps = path.split("/")
    for index, step in enumerate(steps):
        if any(char in step for char in "*?["):
            return "/".join(steps[:index]) or "/", steps[index:]
    return path, []


def _is_selected(steps: list[str], pattern: list[str]) -> bool:
    """Return whether a glob matches a file or one of its folders; hidden names never match."""
    if any(step.startswith(".") for step in steps):
        return False
    return any(_matches(steps[:stop], pattern) for stop in range(1, len(steps) + 1))


def _matches(steps: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_matches(steps[skip:], pattern[1:]) for skip in range(len(steps) + 1))
    if not steps or not fnmatch.fnmatchcase(steps[0], pattern[0]):
        return False
    return _matches(steps[1:], pattern[1:])


def common_folder(sources: Iterable[str]) -> str:
    """Return the deepest folder that contains all sources, without wildcards; "" if none does."""
    folders = []
    for source in sources:
        steps = _split_glob(source.rstrip("/"))[0].split("/")
        is_file = steps[-1].lower().endswith(TABLES + IMAGES)
        folders.append(steps[:-1] if is_file else steps)
    return deepest_common_folder(folders)


def read_image(uri: str, max_bytes: int) -> bytes:
    """Read a whole image file.

    Raises:
        BadRow: the file does not exist or is larger than max_bytes.
        DataError: the file system cannot be reached.
    """
    try:
        filesystem, path = locate(uri)
        with filesystem.open_input_file(path) as file:
            if file.size() > max_bytes:
                raise BadRow("image too large", f"{file.size()} bytes")
            return bytes(file.read())
    except (OSError, pa.ArrowException) as error:
        raise read_error("image", uri, error) from error


def read_error(what: str, uri: str, error: Exception) -> DataError:
    """Return a BadRow for a broken or missing file, or a DataError if access itself failed."""
    outage = "AWS Error" in str(error) or isinstance(error, PermissionError)
    if outage and not isinstance(error, FileNotFoundError):
        return DataError(f"cannot read {uri}: {error}")
    return BadRow(f"unreadable {what}", str(error))


def resolve_path(table: str, path: str) -> str:
    """Resolve a path in a table relative to the folder of the table."""
    if "://" in path or Path(path).is_absolute():
        return path
    return f"{table.rsplit('/', 1)[0]}/{path}"
