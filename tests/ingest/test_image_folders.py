"""Folders of images, as people have them, from the sources to the pool."""

import logging
import sys

import numpy as np
import PIL.Image
import pytest

from tests.ingest.pictures import COLOR, GRAY, saved, tif
from tests.ingest.test_ingest import DOMAIN, backwards, campaign, oracle_of, pool_of
from umc_ray.encoders.image import decode
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import load_manifest
from umc_ray.ingest.notes import Note
from umc_ray.storage import Storage


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Ingest the folder `images`, or others; returns the run directory and the manifest."""
    monkeypatch.setattr(ingest_module, "stream", backwards)

    def read(*sources, split="pool", **domain):
        named = [f"{tmp_path}/{source}" for source in sources or ["images"]]
        storage = Storage(str(tmp_path / "run"))
        backend = "replay" if domain.get("label") else "sheet"
        config = campaign({"source": named, **domain}, backend=backend)
        return storage, ingest(config, DOMAIN, split, storage)

    return read


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8)
    return saved(PIL.Image.fromarray(pixels), "PNG")


def write(folder, **contents):
    for number, (name, content) in enumerate(contents.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or picture(number))


def labels_of(storage, manifest):
    keys = [row["key"] for row in pool_of(storage, manifest)]
    labels = [row["label"] for row in oracle_of(storage, manifest)]
    return dict(zip(keys, labels, strict=True))


def test_notes_are_counted_stored_and_logged(tmp_path, read, caplog):
    deep = {f"{i}.tif": tif(np.roll(GRAY, i).astype(np.uint16) * 16) for i in range(3)}
    frames = {"save_all": True, "append_images": [PIL.Image.fromarray(255 - GRAY)]}
    moving = saved(PIL.Image.fromarray(GRAY), "GIF", **frames)
    color = saved(PIL.Image.fromarray(COLOR), "PNG")
    write(tmp_path / "images", **deep, **{"m.gif": moving, "c.jfif": color, "notes.txt": b"x"})
    with caplog.at_level(logging.INFO):
        storage, manifest = read()
    assert manifest.rows == 5
    assert set(manifest.notes) == {
        Note("12-bit integers: 0..4095 scaled to 0..255", 3),
        Note("several frames or pages: the first is used", 1),
        Note("in color: the task's encoders see gray", 1),
        Note("ignored: .txt", 1),
    }
    assert "ingest task/domain pool: 3 x 12-bit integers: 0..4095" in caplog.text
    assert load_manifest(storage, DOMAIN, "pool") == manifest


def test_images_of_one_color_are_bad_rows(tmp_path, read):
    gray = saved(PIL.Image.new("L", (48, 48), 128), "PNG")
    write(tmp_path / "images", **{"a.png": None, "gray.png": gray})
    _, manifest = read()
    assert (manifest.rows, manifest.reasons) == (1, {"nothing to see": 1})


def test_a_pool_keeps_the_bytes_of_the_files_and_encoders_see_them_scaled(tmp_path, read):
    deep = tif(GRAY.astype(np.uint16) * 257)
    write(tmp_path / "images", **{"a.tif": deep})
    storage, manifest = read()
    (row,) = pool_of(storage, manifest)
    assert row["image"] == deep
    assert np.abs(decode(row["image"], "L", 64).astype(int) - GRAY).max() <= 1


def test_a_link_to_the_folder_itself_adds_nothing(tmp_path, read):
    write(tmp_path / "images", **{f"{i}.png": None for i in range(15)})
    (tmp_path / "images/loop").symlink_to(".", target_is_directory=True)
    _, manifest = read()
    assert (manifest.rows, manifest.duplicates) == (15, 0)
    assert manifest.notes == (Note("links to folders that are read anyway: not followed", 1),)


def test_the_class_is_the_outermost_folder_whose_name_is_a_label(tmp_path, read):
    names = ["yes/a.png", "yes/no/b.png", "no/deep/er/c.png", "2024/no/d.png", "e.png"]
    write(tmp_path / "images", **dict.fromkeys(names))
    labels = labels_of(*read(label="folder"))
    assert labels == {
        "yes/a.png": "yes",
        "yes/no/b.png": "yes",
        "no/deep/er/c.png": "no",
        "2024/no/d.png": "no",
        "e.png": None,
    }


def test_a_folder_that_is_no_label_is_a_bad_row_where_labels_are_read(tmp_path, read):
    write(tmp_path / "images", **{"yes/a.png": None, "noo/b.png": None})
    _, manifest = read(label="folder")
    assert (manifest.rows, manifest.reasons) == (1, {"unknown label": 1})


def test_class_folders_may_be_sources_of_their_own(tmp_path, read):
    write(tmp_path / "images", **{"yes/a.png": None, "no/b.png": None})
    assert labels_of(*read("images/yes", "images/no", label="folder")) == {
        "yes/a.png": "yes",
        "no/b.png": "no",
    }


def test_a_single_class_folder_labels_its_images(tmp_path, read):
    write(tmp_path / "images", **{"yes/a.png": None})
    assert labels_of(*read("images/yes", label="folder")) == {"a.png": "yes"}


def test_an_image_without_a_class_is_a_bad_row_of_a_test_split(tmp_path, read):
    write(tmp_path / "images", **{"yes/a.png": None, "b.png": None})
    test = str(tmp_path / "images")
    _, manifest = read(split="test", label="folder", test=test)
    assert (manifest.rows, manifest.reasons) == (1, {"missing label": 1})


def test_an_image_in_a_table_that_pillow_cannot_read_says_what_is_missing(
    tmp_path, read, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    write(tmp_path, **{"a.png": None})
    (tmp_path / "images.csv").write_text("file\na.png\nphoto.heic\n")
    storage, manifest = read("images.csv", image="file")
    assert manifest.reasons == {"undecodable image": 1}
    (key,) = storage.keys("quarantine")
    (row,) = storage.read_table(key).to_pylist()
    assert row["reason"] == "undecodable image: HEIC images need pip install pillow-heif"


def test_photos_in_heic_are_read(tmp_path, read):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    write(tmp_path / "images", **{"a.heic": saved(PIL.Image.fromarray(COLOR), "HEIF")})
    storage, manifest = read()
    (row,) = pool_of(storage, manifest)
    assert np.abs(decode(row["image"], "RGB", 64).astype(int) - COLOR).max() < 40
