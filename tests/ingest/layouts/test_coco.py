import json
from collections import Counter

import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.errors import DataError

CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog", "supercategory": "animal"}]


def coco(path, images, annotations):
    document = {
        "info": {"year": 2017},
        "images": [{"id": i, "file_name": name} for i, name in images],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category}
            for n, (image, category) in enumerate(annotations or ())
        ],
        "categories": CATEGORIES,
    }
    if annotations is None:
        del document["annotations"]
    return write(path, json.dumps(document))


def test_images_have_the_categories_of_their_annotations(tmp_path):
    images = [(1, "1.jpg"), (2, "2.jpg"), (3, "3.jpg")]
    annotations = [(1, 17), (1, 17), (2, 17), (2, 18), (9, 18)]
    path = coco(tmp_path / "annotations" / "instances_val2017.json", images, annotations)
    write(tmp_path / "val2017" / "1.jpg", b"x")
    notes = Counter()
    rows = picked(read(path, "image", notes=notes), "file_name", "label", "labels")
    assert rows == [
        ("1.jpg", "cat", ["cat"]),
        ("2.jpg", ["cat", "dog"], ["cat", "dog"]),
        ("3.jpg", None, []),
    ]
    assert read(path)[0]["image"] == f"{tmp_path}/val2017/1.jpg"
    assert notes == {"annotations of images that the file does not list: ignored": 1}


def test_the_folder_of_a_dataset_has_a_file_for_each_split(tmp_path):
    for split in ("train", "val"):
        coco(tmp_path / "annotations" / f"instances_{split}2017.json", [(1, "1.jpg")], [(1, 17)])
        write(tmp_path / f"{split}2017" / "1.jpg", b"x")
    assert about(tmp_path) == "coco: split train of train, validation"
    (row,) = read(tmp_path, use="test")
    assert row["image"] == f"{tmp_path}/val2017/1.jpg"


def test_files_beside_their_images_are_recognized(tmp_path):
    for split in ("train", "valid"):
        coco(tmp_path / split / "_annotations.coco.json", [(1, "1.jpg")], [(1, 18)])
        write(tmp_path / split / "1.jpg", b"x")
    assert about(tmp_path, "test") == "coco: split validation of train, validation"
    assert picked(read(tmp_path), "label") == [("dog",)]


def test_repeated_images_and_unknown_categories_are_bad_rows(tmp_path):
    path = coco(tmp_path / "a.json", [(1, "1.jpg"), (1, "1.jpg"), (2, "2.jpg")], [(2, 5)])
    write(tmp_path / "1.jpg", b"x")
    assert read(path)[1:] == [
        "repeated id: image 1 is listed twice",
        "unknown category: image 2 has category_id 5",
    ]


def test_without_annotations_nothing_is_known(tmp_path):
    path = coco(tmp_path / "image_info_test.json", [(1, "1.jpg")], None)
    write(tmp_path / "1.jpg", b"x")
    assert picked(read(path), "label", "labels") == [(None, None)]


def test_images_that_are_nowhere_are_an_error_that_says_where_they_could_be(tmp_path):
    path = coco(tmp_path / "annotations" / "instances_val2017.json", [(1, "1.jpg")], [(1, 17)])
    with pytest.raises(DataError, match=r"no image such as 1.jpg in .*/val2017, .*/images"):
        read(path)


def test_other_json_is_not_taken_for_it(tmp_path):
    assert about(write(tmp_path / "a.json", '{"images": [], "names": []}')) is None
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"has no JSON file with images, annotations and categ"):
        about(tmp_path / "b", format="coco")
