"""Files that appear under their name only when they are complete.

On a local disk a file is written under another name and renamed; an object store puts it whole.
"""

import os
import uuid
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
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)
