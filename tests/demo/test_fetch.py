import base64
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from umc_ray.demo.fetch import Wheel, cache_dir, fetch, new_folder, read_members
from umc_ray.errors import DataError


def make_wheel(folder: Path, tag: str = "py3-none-any") -> Path:
    """A wheel that pip accepts: one data file and the three files of the standard."""
    files = {
        "tiny/data.txt": "real data",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
    path = folder / f"tiny-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("tiny-1.0.dist-info/RECORD", record + "tiny-1.0.dist-info/RECORD,,\n")
    return path


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the package index pip can see."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_downloaded_once(index: Path, tmp_path: Path) -> None:
    source = make_wheel(index)
    wheel = Wheel("tiny", "1.0", sha256(source))
    path = fetch(wheel, tmp_path)
    assert read_members(path, ["tiny/data.txt"]) == [b"real data"]
    source.unlink()
    assert fetch(wheel, tmp_path) == path
    assert list(path.parent.iterdir()) == [path]


def test_a_wheel_of_another_python_is_downloaded_as_data(index: Path, tmp_path: Path) -> None:
    source = make_wheel(index, "cp39-cp39-manylinux2014_aarch64")
    options = ("--python-version=3.9", "--implementation=cp", "--platform=manylinux2014_aarch64")
    path = fetch(Wheel("tiny", "1.0", sha256(source), options), tmp_path)
    assert sha256(path) == sha256(source)


def test_a_wheel_with_another_hash_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    source = make_wheel(index)
    with pytest.raises(DataError) as error:
        fetch(Wheel("tiny", "1.0", "0" * 64), tmp_path)
    for named in (source.name, "0" * 64, sha256(source)):
        assert named in str(error.value)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_missing_package_is_reported_in_the_words_of_pip(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pip download tiny==1\.0(.|\n)*No matching distribution"):
        fetch(Wheel("tiny", "1.0", "0" * 64), tmp_path)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_damaged_wheel_in_the_cache_is_refused(tmp_path: Path) -> None:
    cached = tmp_path / "wheels" / "tiny-1.0.whl"
    cached.parent.mkdir()
    cached.write_bytes(b"half a fi")
    with pytest.raises(DataError, match=r"tiny-1\.0\.whl: expected sha256 0{64}, found"):
        fetch(Wheel("tiny", "1.0", "0" * 64), tmp_path)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\['tiny/other\.txt'\]"):
        read_members(make_wheel(tmp_path), ["tiny/data.txt", "tiny/other.txt"])


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny"
    with pytest.raises(KeyboardInterrupt), new_folder(folder) as partial:
        (partial / "first").write_text("written")
        raise KeyboardInterrupt
    assert list(folder.parent.iterdir()) == []
    with new_folder(folder) as partial:
        (partial / "first").write_text("written")
        assert not folder.exists()
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    assert (folder / "first").read_text() == "written"


def test_of_two_writers_of_a_folder_the_first_wins(tmp_path: Path) -> None:
    with new_folder(tmp_path / "tiny") as slow:
        (slow / "file").write_text("slow")
        with new_folder(tmp_path / "tiny") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "tiny" / "file").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMC_CACHE", "/data/cache")
    assert cache_dir() == Path("/data/cache")
    monkeypatch.setenv("UMC_CACHE", "")
    assert cache_dir() == Path.home() / ".cache" / "umc_ray"
