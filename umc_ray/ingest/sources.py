"""Source files of samples, local or on s3://: listing them and reading images."""

import contextlib
import fnmatch
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from umc_ray.errors import DataError
from umc_ray.ingest.folders import Walk
from umc_ray.ingest.pixels import AVIF, HEIC_INSTALL
from umc_ray.storage import deepest_common_folder

_TEXTS = (".jsonl", ".ndjson", ".csv", ".tsv")
TABLES = (".parquet", ".arrow", *_TEXTS, *(f"{suffix}.gz" for suffix in _TEXTS))
OPTIONAL_IMAGES = {
    ".avif": "" if AVIF else "Pillow 11.3",
    **dict.fromkeys(
        (".heic", ".heif"), "" if importlib.util.find_spec("pillow_heif") else HEIC_INSTALL
    ),
}
"""What is missing for images of some kinds; nothing if they can be read."""

_ALWAYS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IMAGES = (*_ALWAYS, *(suffix for suffix, missing in OPTIONAL_IMAGES.items() if not missing))

TEXT_FILES = (".txt", ".train", ".valid", ".test", ".ft")
WHOLE_FILES = (".json", *TEXT_FILES)
"""Files that are read where they are of a published layout."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Of images; what is in them is found when they are read."""

OTHER_PATH = "paths with backslashes or percent signs: read as / and as the signs they stand for"
OTHER_TABLES = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "save each sheet as CSV UTF-8"),
    ".json": "write it as JSON lines: one object per line, in a file .jsonl",
}
"""What to do with tables of formats that are not read."""

MAX_IGNORED_KINDS = 10


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


@dataclass(frozen=True)
class Listing:
    """The files of each source, and notes on what else was found."""

    files: dict[str, list[SourceFile]]
    notes: Counter[str]

    @property
    def all(self) -> list[SourceFile]:
        """The files of all sources, in their order."""
        return [file for each in self.files.values() for file in each]


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


def list_files(sources: Sequence[str], suffixes: tuple[str, ...], exclude: str) -> Listing:
    """Return the files of each source; a source is a file, a glob or a folder.

    Files are sorted within a source; a file in two sources belongs to the first. The folder
    `exclude`, where results are stored, is skipped even if it lies within a source.

    Raises:
        DataError: a source does not exist, has no matching file, or has the wrong suffix.
    """
    listing, seen = Listing({}, Counter()), set[str]()
    for source in sources:
        listed = _list_source(source, suffixes, exclude.rstrip("/") + "/", listing.notes)
        listing.files[source] = [file for file in listed if file.uri not in seen]
        seen.update(file.uri for file in listed)
    return listing


def _list_source(
    source: str, suffixes: tuple[str, ...], exclude: str, notes: Counter[str]
) -> list[SourceFile]:
    filesystem, path = locate(source)
    path = path.rstrip("/") or "/"
    prefix = source[: source.index("://") + 3] if "://" in source else ""
    info = _info(filesystem, path, source)
    if info.type == pafs.FileType.File:
        if not _has_suffix(path, suffixes):
            raise DataError(
                f"{source} does not end in one of {' '.join(suffixes)}{_advice([path], suffixes)}"
            )
        return [SourceFile(source, info.size, info.mtime_ns or 0)]
    if info.type == pafs.FileType.Directory:
        folder, pattern = path, ["**"]
    else:
        folder, pattern = _split_glob(path)
        if not pattern:
            raise DataError(f"{source} does not exist")
    everything = _walk(filesystem, folder, source, notes)
    selected = [
        replace(file, uri=prefix + file.uri)
        for file in everything
        if not (prefix + file.uri).startswith(exclude)
        and _is_selected(file.uri[len(folder) :].strip("/").split("/"), pattern)
    ]
    files = [file for file in selected if _has_suffix(file.uri, suffixes)]
    others = [file.uri for file in selected if not _has_suffix(file.uri, suffixes)]
    notes.update(count_ignored(others))
    if not files:
        raise DataError(
            f"{source} matches no file that ends in {' '.join(suffixes)}; "
            f"{folder} holds {len(everything)} files{_advice(others, suffixes)}"
        )
    return sorted(files, key=lambda file: file.uri)


def _info(filesystem: pafs.FileSystem, path: str, source: str) -> pafs.FileInfo:
    try:
        return filesystem.get_file_info(path)
    except OSError as error:
        raise DataError(f"cannot look up {source}: {error}") from error


def _walk(
    filesystem: pafs.FileSystem, folder: str, source: str, notes: Counter[str]
) -> list[SourceFile]:
    """Return all files below a folder; empty if it does not exist."""
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    try:
        return _walk_local(folder, notes) if is_local else _walk_remote(filesystem, folder)
    except (OSError, UnicodeError) as error:  # a name that is not UTF-8
        raise DataError(f"cannot list {source}: {error}") from error


def _walk_local(folder: str, notes: Counter[str]) -> list[SourceFile]:
    if not os.path.isdir(folder):
        return []
    walk = Walk(folder)
    stats = [(entry.path, entry.stat()) for entry in walk.files()]
    notes.update(walk.notes)
    return [SourceFile(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _walk_remote(filesystem: pafs.FileSystem, folder: str) -> list[SourceFile]:
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [
        SourceFile(info.path, info.size, info.mtime_ns or 0)
        for info in filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
    ]


def count_ignored(uris: Sequence[str]) -> Counter[str]:
    """Count files that are not read by their suffix, and say what they need."""
    kinds = Counter(os.path.splitext(uri)[1].lower() for uri in uris)
    notes: Counter[str] = Counter()
    for rank, (suffix, count) in enumerate(kinds.most_common()):
        kind = f"{suffix or 'files without a suffix'}" if rank < MAX_IGNORED_KINDS else "others"
        missing = OPTIONAL_IMAGES.get(suffix)
        notes[f"ignored: {kind}" + (f", which needs {missing}" if missing else "")] += count
    return notes


def _advice(paths: Iterable[str], suffixes: tuple[str, ...]) -> str:
    """Say what to do with tables that are not read, where tables are asked for."""
    found = dict.fromkeys(os.path.splitext(path)[1].lower() for path in paths)
    said = [f"{suffix}: {OTHER_TABLES[suffix]}" for suffix in found if suffix in OTHER_TABLES]
    return f"; {'; '.join(said)}" if said and suffixes == TABLES else ""


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
        is_file = steps[-1].lower().endswith(TABLES + IMAGES + ARCHIVES + WHOLE_FILES)
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


def find_image(table: str, path: str, max_bytes: int) -> tuple[bytes, tuple[str, ...]]:
    r"""Read an image that a table names, also as Windows or a URL would write its path.

    The path is tried as it stands first, because a name may have a \\ or a %20 in it.

    Raises:
        BadRow: the file does not exist or is larger than max_bytes.
        DataError: the file system cannot be reached.
    """
    slashes = path.replace("\\", "/")
    others = {slashes, unquote(path), unquote(slashes)} - {path}
    try:
        return read_image(resolve_path(table, path), max_bytes), ()
    except BadRow:
        for other in sorted(others):
            with contextlib.suppress(BadRow):
                return read_image(resolve_path(table, other), max_bytes), (OTHER_PATH,)
        raise


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
