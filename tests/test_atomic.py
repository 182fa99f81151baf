import os
import stat

import pyarrow.fs as pafs
import pytest

from umc_ray import atomic
from umc_ray.atomic import make_private, others_can_read, write_file

LOCAL = pafs.LocalFileSystem()


@pytest.mark.parametrize("asked", ["on", "off"])
def test_a_file_and_its_folder_are_flushed_before_it_counts_as_written(
    tmp_path, monkeypatch, asked
):
    path, seen = tmp_path / "folder/file", []
    monkeypatch.setenv("UMC_FSYNC", asked)

    def flush(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append(("folder" if is_folder else "file", path.exists()))

    monkeypatch.setattr(atomic.os, "fsync", flush)
    write_file(LOCAL, str(path), b"data")
    assert path.read_bytes() == b"data"
    assert seen == ([("file", False), ("folder", True)] if asked == "on" else [])


def test_a_disk_that_cannot_flush_folders_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("UMC_FSYNC", "on")
    real = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError("not supported")
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    write_file(LOCAL, str(tmp_path / "file"), b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_private_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    make_private(path)
    make_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not others_can_read(path)
    path.chmod(0o644)
    assert others_can_read(path)
    assert not others_can_read(tmp_path / "none")
    tmp_path.chmod(0o755)
    assert not others_can_read(tmp_path)
