"""Images in zip and tar files, from the files to the pool."""

import io
import json
import tarfile
import zipfile
from collections import Counter

import pytest

from tests.ingest.test_image_folders import labels_of, picture, read  # noqa: F401 - a fixture
from tests.ingest.test_ingest import DOMAIN, pool_of, quarantine_of
from umc_ray.errors import ConfigError
from umc_ray.ingest.archives import OUTSIDE, read_archive
from umc_ray.ingest.notes import Note
from umc_ray.ingest.sources import BadRow
from umc_ray.ingest.stage import WorkItem, split_work

NAMES = ["yes/0.png", "no/1.png", "2.png"]


def contents(names=NAMES):
    return {name: picture(i) for i, name in enumerate(names)}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write(path, files):
    (write_zip if path.suffix == ".zip" else write_tar)(path, files)
    return path


def found(path, max_bytes=10_000, beside=False):
    notes = Counter()
    return list(read_archive(str(path), max_bytes, beside, notes)), notes


@pytest.mark.parametrize("name", ["images.zip", "images.tar", "images.tar.gz", "images.tgz"])
def test_an_archive_is_read_like_the_folder_that_is_in_it(tmp_path, read, name):  # noqa: F811
    write(tmp_path / name, contents())
    storage, manifest = read(name, label="folder")
    assert [row["image"] for row in pool_of(storage, manifest)] == list(contents().values())
    labels = {f"{name}/yes/0.png": "yes", f"{name}/no/1.png": "no", f"{name}/2.png": None}
    assert labels_of(storage, manifest) == labels


def test_archives_and_images_stand_side_by_side_in_a_folder(tmp_path, read):  # noqa: F811
    (tmp_path / "images/no").mkdir(parents=True)
    (tmp_path / "images/no/9.png").write_bytes(picture(9))
    write(tmp_path / "images/no/more.zip", {"0.png": picture(0)})
    assert labels_of(*read(label="folder")) == {"no/9.png": "no", "no/more.zip/0.png": "no"}


def test_an_archive_is_an_item_of_work(monkeypatch):
    monkeypatch.setattr("umc_ray.ingest.stage.IMAGES_PER_ITEM", 2)
    uris = ["1.png", "2.png", "3.png", "4.zip", "5.tar", "6.png"]
    items = [("1.png", "2.png"), ("3.png",), ("4.zip",), ("5.tar",), ("6.png",)]
    assert split_work(uris, True) == [WorkItem(files) for files in items]


@pytest.mark.parametrize("label", ["cls", "name"])
def test_a_web_dataset_has_labels_beside_its_images(tmp_path, read, label):  # noqa: F811
    files = {}
    for i, answer in enumerate(["no", "yes", "no"]):
        files[f"{i}.jpg"] = picture(i)
        files[f"{i}.cls"] = answer.encode()
        files[f"{i}.json"] = json.dumps({"name": answer}).encode()
    write(tmp_path / "shard-0.tar", files)
    labels = labels_of(*read("*.tar", label=label))
    assert labels == {f"shard-0.tar/{i}.jpg": "no" if i != 1 else "yes" for i in range(3)}


def test_fields_beside_an_image_can_be_kept(tmp_path, read):  # noqa: F811
    files = {}
    for i in range(2):
        files[f"{i}.jpg"] = picture(i)
        files[f"{i}.json"] = json.dumps({"year": 2020 + i}).encode()
    write(tmp_path / "shard-0.tar", files)
    storage, manifest = read("*.tar", keep=["year"])
    (part,) = manifest.parts
    assert storage.read_table(part.key("kept")).to_pydict() == {"year": [2020, 2021]}


def test_what_stands_beside_an_image_and_is_broken_says_nothing(tmp_path):
    files = {"a.png": b"1", "a.json": b"{", "a.cls": b"\xff", "b.png": b"2", "b.json": b"[1]"}
    members, _ = found(write(tmp_path / "x.tar", files), beside=True)
    assert [(each.name, each.beside) for each in members] == [("a.png", {}), ("b.png", {})]


def test_labels_beside_an_image_need_an_archive(tmp_path, read):  # noqa: F811
    with pytest.raises(ConfigError, match="label: folder"):
        read(label="cls")


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_files_that_are_no_images_are_counted_and_hidden_ones_are_not(tmp_path, read, name):  # noqa: F811
    hidden = {"__MACOSX/._0.png": b"x", "a/.DS_Store": b"x"}
    outside = {"../7.png": b"x", "a/../../8.png": b"x"}
    write(tmp_path / name, {**contents(), **hidden, **outside, "read me.txt": b"x"})
    _, manifest = read(name)
    assert (manifest.rows, manifest.bad) == (3, 0)
    assert manifest.notes == (Note(OUTSIDE, 2), Note("ignored: .txt", 1))


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_a_file_that_is_too_large_is_not_unpacked(tmp_path, name):
    members, _ = found(write(tmp_path / name, {"a.png": b"1234", "b.png": bytes(5)}), max_bytes=4)
    assert [str(each.content) for each in members[1:]] == ["image too large: 5 bytes"]
    assert members[0].content == b"1234"


def test_a_zip_that_says_less_than_it_holds_is_not_unpacked(tmp_path):
    path = write(tmp_path / "x.zip", {"a.png": bytes(1000)})
    size = (1000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (3).to_bytes(4, "little")))
    (member,), _ = found(path, max_bytes=4)
    assert isinstance(member.content, BadRow) or len(member.content) <= 4


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_an_archive_that_is_cut_off_is_a_bad_row(tmp_path, read, name):  # noqa: F811
    path = write(tmp_path / name, {f"{i}.png": picture(i) for i in range(60)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])
    write(tmp_path / "good.zip", contents())
    storage, manifest = read(name, "good.zip")
    assert manifest.reasons == {"unreadable file": 1}
    assert [row["source"] for row in quarantine_of(storage)] == [str(path)]
    assert manifest.rows + manifest.duplicates >= 3


def test_a_broken_file_in_a_zip_costs_one_row(tmp_path, read):  # noqa: F811
    path = write(tmp_path / "x.zip", contents())
    path.write_bytes(path.read_bytes().replace(picture(1)[-30:], bytes(30), 1))
    storage, manifest = read("x.zip")
    assert manifest.reasons == {"unreadable image": 1}
    assert (manifest.rows, quarantine_of(storage)[0]["row"]) == (2, "no/1.png")
    assert str(DOMAIN) in storage.keys("quarantine")[0]
