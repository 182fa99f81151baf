"""Files that appear under their name only when they are complete, and are there after a power cut.

On a local disk a file is written under another name, flushed to the disk and renamed, and so is the
folder; an object store puts a file whole. UMC_FSYNC=off leaves the flushing to the system, which is
faster on a slow disk: after a power cut, files may be empty then, and their seals say so.
"""

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

import pyarrow.fs as pafs

DRAFT = ".draft"
"""Suffix of a file that is being written, or whose writer was killed."""


def write_file(filesystem: pafs.FileSystem, path: str, data: bytes | memoryview) -> None:
    """Write a file atomically.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)
        return
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    draft = f"{path}.{uuid.uuid4().hex}{DRAFT}"
    try:
        with open(draft, "wb") as file:
            file.write(data)
            if is_durable():
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
        if is_durable():
            _flush_folder(folder)
    finally:
        Path(draft).unlink(missing_ok=True)


def is_durable() -> bool:
    """Whether files are flushed to the disk before they count as written."""
    return os.environ.get("UMC_FSYNC", "on") != "off"


def make_private(path: Path) -> None:
    """Create a file that only its owner can read, unless it is there."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def others_can_read(path: Path) -> bool:
    """Whether everybody on this machine can read a file; false if there is none, or a folder."""
    return path.exists() and not path.is_dir() and bool(path.stat().st_mode & stat.S_IROTH)


def _flush_folder(folder: str) -> None:
    """Flush the names of a folder; some network disks cannot, and need not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
