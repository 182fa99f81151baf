from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from umc_ray.errors import StoreError
from umc_ray.records import embeddings_array, embeddings_column
from umc_ray.storage import Storage

TABLE = pa.table({"sample_id": [3, 1, 2], "text": ["c", "a", "b"]})


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "run"))


def test_what_is_written_is_read_again(storage):
    storage.write_bytes("a/raw", b"\x00\xff")
    storage.write_json("a/note.json", {"x": [1, None]})
    storage.write_table("a/b/table.parquet", TABLE)
    assert storage.read_bytes("a/raw") == b"\x00\xff"
    assert storage.read_json("a/note.json") == {"x": [1, None]}
    assert storage.read_table("a/b/table.parquet") == TABLE
    assert storage.within("a").read_bytes("raw") == b"\x00\xff"
    assert storage.keys("") == ["a/b/table.parquet", "a/note.json", "a/raw"]
    assert storage.keys("a/b") == ["a/b/table.parquet"]
    assert storage.keys("none") == []


def test_columns_and_rows_of_a_table_are_read_alone(storage):
    storage.write_table("table.parquet", TABLE)
    only = [("sample_id", "in", [1, 2]), ("text", "!=", "b")]
    assert storage.read_table("table.parquet", ["text"], only).to_pylist() == [{"text": "a"}]


def test_metadata_is_read_from_the_footer(storage):
    storage.write_table("table.parquet", TABLE.replace_schema_metadata({b"summary": b"{}"}))
    assert storage.read_schema("table.parquet").metadata[b"summary"] == b"{}"


def test_a_file_is_replaced_whole(storage):
    storage.write_bytes("file", b"long before")
    storage.write_bytes("file", b"new")
    assert storage.read_bytes("file") == b"new"
    assert storage.keys("") == ["file"]


def test_a_write_that_fails_leaves_nothing(storage):
    storage.write_bytes("folder/file", b"kept")
    with pytest.raises(StoreError, match=r"cannot write folder in .*run: "):
        storage.write_bytes("folder", b"where a folder is")
    assert storage.keys("") == ["folder/file"]


def test_only_files_exist(storage):
    storage.write_bytes("folder/file", b"")
    assert storage.exists("folder/file")
    assert not storage.exists("folder")
    assert not storage.exists("none")


def test_what_is_missing_or_broken_is_an_error_that_names_it(storage):
    storage.write_bytes("broken.parquet", b"no table")
    with pytest.raises(StoreError, match=r"cannot read none in .*run: "):
        storage.read_bytes("none")
    for key in ("none.parquet", "broken.parquet"):
        with pytest.raises(StoreError, match=f"cannot read {key} in .*run: "):
            storage.read_table(key)


def test_a_storage_of_an_unknown_kind_is_an_error():
    with pytest.raises(StoreError, match="cannot open storage 'what://x'"):
        Storage("what://x").exists("key")


def test_folders_are_deleted_and_missing_ones_are_fine(storage):
    storage.write_bytes("a/b/file", b"")
    storage.write_bytes("ab", b"")
    storage.delete("a")
    storage.delete("a")
    assert storage.keys("") == ["ab"]


def test_lines_are_added_to_a_log(storage):
    storage.append_line("log", "one")
    storage.append_line("log", "two é")
    assert storage.read_bytes("log").decode() == "one\ntwo é\n"


@dataclass(frozen=True)
class Inner:
    words: tuple[str, ...]
    share: float | None = None


@dataclass(frozen=True)
class Record:
    number: int
    inner: dict[str, Inner]
    more: list[Inner] = field(default_factory=list)


RECORD = Record(3, {"a": Inner(("x", "y"), 0.1), "b": Inner(())}, [Inner(("z",))])


def test_a_record_is_read_as_the_dataclass_that_it_was(storage):
    storage.write_record("record.json", RECORD)
    assert storage.read_record("record.json", Record) == RECORD
    assert storage.read_json("record.json")["inner"]["a"] == {"words": ["x", "y"], "share": 0.1}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"number": 3}, "inner: Field required"),
        ({"number": "three", "inner": {}}, "number: Input should be a valid integer"),
        ({"number": 3, "inner": {"a": {"words": 5}}}, r"inner\.a\.words: Input should be a valid"),
        ([1, 2], "Input should be an object"),
        (None, "Input should be an object"),
    ],
)
def test_what_is_no_such_record_is_an_error_that_says_where(storage, values, said):
    storage.write_json("record.json", values)
    with pytest.raises(
        StoreError, match=rf"record\.json of .*run is not a Record: {said}"
    ) as raised:
        storage.read_record("record.json", Record)
    assert "\n" not in str(raised.value)


def test_a_record_that_is_missing_or_no_json_is_an_error_that_names_it(storage):
    with pytest.raises(StoreError, match=r"cannot read record\.json in .*run: "):
        storage.read_record("record.json", Record)
    storage.write_bytes("record.json", b'{"number": 3')
    with pytest.raises(StoreError, match=r"record\.json of .*run is not a Record: Invalid JSON"):
        storage.read_record("record.json", Record)


def test_parts_of_a_record_that_this_version_does_not_know_are_left_out(storage):
    storage.write_record("record.json", RECORD)
    storage.write_json("record.json", {**storage.read_json("record.json"), "new": 1})
    assert storage.read_record("record.json", Record) == RECORD


@given(
    arrays(np.float16, st.tuples(st.integers(0, 6), st.integers(1, 5))),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_embeddings_survive_columns_slices_and_chunks(rows_ND, start, length):
    column = embeddings_column(rows_ND).slice(start, length)
    expected = rows_ND[start : start + length].tobytes()
    assert embeddings_array(column).tobytes() == expected
    assert embeddings_array(pa.chunked_array([column])).tobytes() == expected
    binary = pa.array(column.to_pylist(), pa.binary())
    assert embeddings_array(binary).tobytes() == expected
    twice = pa.chunked_array([column, column])
    assert embeddings_array(twice).tobytes() == 2 * expected


def test_embeddings_are_stored_without_a_dictionary(storage):
    rows_ND = np.arange(12, dtype=np.float16).reshape(4, 3)
    storage.write_table("f.parquet", pa.table({"embedding": embeddings_column(rows_ND)}))
    footer = pq.read_metadata(storage.path("f.parquet")).row_group(0).column(0)
    assert footer.physical_type == "FIXED_LEN_BYTE_ARRAY"
    assert "RLE_DICTIONARY" not in footer.encodings
    assert np.array_equal(embeddings_array(storage.read_table("f.parquet")["embedding"]), rows_ND)


def test_a_copied_file_stays_as_it_was_when_either_is_written_again(tmp_path):
    ours, theirs = Storage(str(tmp_path / "a")), Storage(str(tmp_path / "b"))
    theirs.write_bytes("x/y", b"1")
    ours.copy("x/y", theirs)
    assert Path(ours.path("x/y")).samefile(theirs.path("x/y"))
    theirs.write_bytes("x/y", b"2")
    assert (ours.read_bytes("x/y"), theirs.read_bytes("x/y")) == (b"1", b"2")


def test_files_are_copied_between_stores_of_two_kinds(tmp_path):
    disk, memory = Storage(str(tmp_path)), Storage("mock:///")
    disk.write_bytes("y", b"1")
    memory.copy("y", disk)
    assert memory.read_bytes("y") == b"1"
    with pytest.raises(StoreError, match="cannot read z"):
        disk.copy("z", memory)
