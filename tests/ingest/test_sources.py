import os

import pytest

from umc_ray.errors import DataError
from umc_ray.ingest.sources import (
    IMAGES,
    MAX_IGNORED_KINDS,
    OPTIONAL_IMAGES,
    OTHER_PATH,
    TABLES,
    BadRow,
    common_folder,
    find_image,
    list_files,
    locate,
    read_image,
    resolve_path,
)


@pytest.fixture
def tree(tmp_path):
    """Create a folder of files, some of them hidden or of another kind."""
    names = ["b/2.csv", "b/1.JSONL", "b/deep/3.csv.gz", "a/4.csv", ".trash/5.csv", "b/._2.csv"]
    for name in [*names, "a/6.txt", "a/7.png", "run/9.csv", "run.csv", "c.parquet/8.parquet"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def listed(tree, *sources):
    listing = list_files([f"{tree}/{source}" for source in sources], TABLES, exclude=f"{tree}/run")
    files_of = listing.files.values()
    return [[os.path.relpath(file.uri, tree) for file in files] for files in files_of]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (
            "",
            [
                "a/4.csv",
                "b/1.JSONL",
                "b/2.csv",
                "b/deep/3.csv.gz",
                "c.parquet/8.parquet",
                "run.csv",
            ],
        ),
        ("b/", ["b/1.JSONL", "b/2.csv", "b/deep/3.csv.gz"]),
        ("b/._2.csv", ["b/._2.csv"]),
        ("b/*.csv", ["b/2.csv"]),
        ("*/[2-4].*", ["a/4.csv", "b/2.csv"]),
        ("[ab]", ["a/4.csv", "b/1.JSONL", "b/2.csv", "b/deep/3.csv.gz"]),
        ("**/*.csv*", ["a/4.csv", "b/2.csv", "b/deep/3.csv.gz", "run.csv"]),
        ("b/**/?.csv.gz", ["b/deep/3.csv.gz"]),
        ("*.parquet", ["c.parquet/8.parquet"]),
    ],
)
def test_a_source_is_a_file_a_folder_or_a_glob(tree, source, names):
    assert listed(tree, source) == [names]


def test_a_file_that_two_sources_name_belongs_to_the_first(tree):
    assert listed(tree, "b/2.csv", "b/*", "a") == [
        ["b/2.csv"],
        ["b/1.JSONL", "b/deep/3.csv.gz"],
        ["a/4.csv"],
    ]


def test_an_existing_file_with_wildcard_characters_is_not_a_glob(tmp_path):
    (tmp_path / "50% [new]*?.csv").touch()
    assert listed(tmp_path, "50% [new]*?.csv") == [["50% [new]*?.csv"]]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.csv", r"nowhere\.csv does not exist"),
        ("a/6.txt", r"a/6\.txt does not end in one of \.parquet .*"),
        ("a/*.parquet", r"a/\*\.parquet matches no file that ends in .*/a holds 3 files"),
        ("none/*.csv", r"none/\*\.csv matches no file .*/none holds 0 files"),
    ],
)
def test_a_source_without_files_is_an_error_that_names_it(tree, source, message):
    with pytest.raises(DataError, match=message):
        listed(tree, source)


def test_a_file_name_that_is_not_utf_8_is_an_error(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.csv", os.O_CREAT))
    with pytest.raises(DataError, match="cannot list"):
        listed(tmp_path, "")


def test_images_are_found_by_their_suffix(tree):
    listing = list_files([str(tree)], IMAGES, exclude="/run")
    assert [file.uri for file in listing.files[str(tree)]] == [f"{tree}/a/7.png"]


@pytest.mark.parametrize(
    ("sources", "folder"),
    [
        (["/data/a.csv"], "/data"),
        (["/data/a"], "/data/a"),
        (["/data/a", "/data/b/*/c.csv"], "/data"),
        (["/data/a/x.csv", "/data/ab/x.csv"], "/data"),
        (["s3://bucket/a/", "s3://bucket/b.parquet"], "s3://bucket"),
        (["s3://bucket/a", "/data/a"], ""),
    ],
)
def test_keys_are_relative_to_the_deepest_folder_of_all_sources(sources, folder):
    assert common_folder(sources) == folder


def test_paths_in_a_table_are_relative_to_its_folder():
    assert resolve_path("s3://bucket/x/table.csv", "images/1.png") == "s3://bucket/x/images/1.png"
    assert resolve_path("/x/table.csv", "/images/1.png") == "/images/1.png"
    assert resolve_path("/x/table.csv", "s3://bucket/1.png") == "s3://bucket/1.png"


def test_an_image_that_is_missing_or_too_large_is_a_bad_row(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"12345")
    assert read_image(str(path), max_bytes=5) == b"12345"
    with pytest.raises(BadRow, match="image too large: 5 bytes"):
        read_image(str(path), max_bytes=4)
    with pytest.raises(BadRow, match=r"unreadable image: .*No such file"):
        read_image(f"{path}2", max_bytes=4)
    with pytest.raises(BadRow, match=r"unreadable image: .*is a directory"):
        read_image(str(tmp_path), max_bytes=4)


@pytest.mark.parametrize(
    ("written", "name", "notes"),
    [
        (r"sub\a b.png", "sub/a b.png", (OTHER_PATH,)),
        ("sub/a%20b.png", "sub/a b.png", (OTHER_PATH,)),
        (r"sub\a%20b.png", "sub/a b.png", (OTHER_PATH,)),
        ("sub/a b.png", "sub/a b.png", ()),
        ("50%25.png", "50%25.png", ()),
        ("100%.png", "100%.png", ()),
        (r"back\slash.png", r"back\slash.png", ()),
        ("file:///{folder}/sub/a%20b.png", "sub/a b.png", (OTHER_PATH,)),
    ],
)
def test_a_path_in_a_table_may_be_written_for_windows_or_as_a_url(tmp_path, written, name, notes):
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(b"1")
    path = written.replace("/{folder}", str(tmp_path))
    assert find_image(f"{tmp_path}/table.csv", path, max_bytes=5) == (b"1", notes)


def test_a_path_that_leads_nowhere_is_named_as_it_was_written(tmp_path):
    with pytest.raises(BadRow, match=r"unreadable image: .*C:\\a%20b\.png"):
        find_image(f"{tmp_path}/table.csv", r"C:\a%20b.png", max_bytes=5)


def test_files_that_are_not_read_are_counted(tree, monkeypatch):
    monkeypatch.setitem(OPTIONAL_IMAGES, ".heic", "pip install pillow-heif")
    for name in ("a/8.heic", "a/9.txt", "a/README", "run/10.txt"):
        (tree / name).touch()
    listing = list_files([f"{tree}/a"], (".png",), exclude=f"{tree}/run")
    assert listing.notes == {
        "ignored: .txt": 2,
        "ignored: .csv": 1,
        "ignored: files without a suffix": 1,
        "ignored: .heic, which needs pip install pillow-heif": 1,
    }


def test_many_kinds_of_ignored_files_are_counted_together(tmp_path):
    for number in range(MAX_IGNORED_KINDS + 3):
        (tmp_path / f"scan.{number:03d}").touch()
    (tmp_path / "a.png").touch()
    notes = list_files([str(tmp_path)], IMAGES, exclude="/run").notes
    assert len(notes) == MAX_IGNORED_KINDS + 1
    assert notes["ignored: others"] == 3


def test_an_unsupported_address_is_a_bad_row():
    with pytest.raises(BadRow, match=r"unsupported address: gopher://host/1\.png"):
        locate("gopher://host/1.png")


def test_the_detail_of_a_bad_row_is_short_and_on_one_line():
    assert (
        str(BadRow("broken JSON", "one\n two " + "x" * 300)) == f"broken JSON: one two {'x' * 192}"
    )


def test_tables_of_other_formats_are_told_what_to_do_with_them(tmp_path):
    for name in ("a.xlsx", "b.json"):
        (tmp_path / name).touch()
    excel, array = "save each sheet as CSV UTF-8", "write it as JSON lines: one object per line"
    with pytest.raises(DataError, match=rf"a\.xlsx does not end in .*; \.xlsx: {excel}"):
        listed(tmp_path, "a.xlsx")
    with pytest.raises(DataError, match=rf"holds 2 files; \.xlsx: {excel}; \.json: {array}"):
        listed(tmp_path, "*")
    with pytest.raises(DataError, match=r"\.png .*; .* holds 2 files$"):
        list_files([str(tmp_path)], IMAGES, exclude="/nowhere")
