import pytest

from tests.ingest.layouts.reading import about, picked, read, write
from umc_ray.errors import DataError


def test_a_line_may_have_several_labels_or_none(tmp_path):
    lines = (
        "__label__sport __label__news A goal, said __label__x\r\n"
        "\n"
        "__label__sport Another\n"
        "no label here\n"
        "__label__bad\t__label__sport\tWith tabs\n"
        "__label__ nothing\n"
    )
    path = write(tmp_path / "cooking.train", lines)
    assert picked(read(path, "text", "label"), "text", "label", "labels") == [
        ("A goal, said __label__x", ["sport", "news"], ["sport", "news"]),
        ("Another", "sport", ["sport"]),
        ("no label here", None, []),
        ("With tabs", ["bad", "sport"], ["bad", "sport"]),
        "broken label: __label__ without a name",
    ]


def test_splits_are_told_by_the_names_of_files(tmp_path):
    for name in ("train.ft.txt", "test.ft.txt"):
        write(tmp_path / name, f"__label__1 {name}\n")
    write(tmp_path / "readme.txt", "Reviews\n")
    assert about(tmp_path) == "fasttext: split train of train, test"
    assert picked(read(tmp_path, use="test"), "text") == [("test.ft.txt",)]
    write(tmp_path / "more.txt", "__label__2 more\n")
    assert about(tmp_path) == "fasttext: all files"


def test_other_texts_are_not_taken_for_it(tmp_path):
    path = write(tmp_path / "a.txt", "A text with __label__ in it\n")
    assert about(path) is None
    with pytest.raises(DataError, match=r"has no text file that begins with __label__"):
        about(tmp_path, format="fasttext")
