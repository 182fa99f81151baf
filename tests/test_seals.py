import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray import seals
from umc_ray.errors import StoreError
from umc_ray.seals import group_of, seal_of, seals_key
from umc_ray.storage import Storage

TABLE = pa.table({"sample_id": [3, 1, 2], "text": ["c", "a", "b"]})
KEYS = (
    "rounds/0001/batch.parquet",
    "rounds/0001/metrics.json",
    "models/m/0001/a/model.safetensors",
)


@pytest.fixture
def storage(tmp_path):
    storage = Storage(str(tmp_path / "run"))
    storage.write_table(KEYS[0], TABLE)
    storage.write_json(KEYS[1], {"accuracy": 0.5})
    storage.write_bytes(KEYS[2], b"weights")
    storage.seal(KEYS)
    return storage


def read(storage, key):
    return storage.read_table(key) if key.endswith(".parquet") else storage.read_bytes(key)


def change(storage, key, content):
    """Change a file as no stage would."""
    with open(storage.path(key), "wb") as file:
        file.write(content)


@pytest.mark.parametrize("key", KEYS)
def test_what_is_sealed_is_read_as_it_was(storage, key):
    read(storage, key)
    assert storage.is_sealed(key)


@pytest.mark.parametrize("key", KEYS)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_an_error_that_names_file_and_remedy(tmp_path_factory, key, data):
    storage = Storage(str(tmp_path_factory.mktemp("run")))
    storage.write_table(KEYS[0], TABLE)
    storage.write_json(KEYS[1], {"accuracy": 0.5})
    storage.write_bytes(KEYS[2], b"weights")
    storage.seal([key])
    content = bytearray(storage.read_bytes(key))
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    change(storage, key, content)
    with pytest.raises(StoreError, match=rf"cannot read {key} in .*checksum.*umc repair"):
        read(storage, key)
    with pytest.raises(StoreError, match=key):
        storage.verify(key)


def test_another_size_is_told(storage):
    change(storage, KEYS[2], b"short")
    with pytest.raises(StoreError, match="it has 5 bytes, 7 were stored"):
        storage.read_bytes(KEYS[2])


def test_who_writes_or_deletes_a_file_seals_it_anew(storage):
    storage.write_bytes(KEYS[2], b"others")
    assert storage.read_bytes(KEYS[2]) == b"others"
    assert storage.is_sealed(KEYS[2])
    storage.delete_file(KEYS[0])
    storage.delete("models/m")
    assert set(storage.seals("")) == {KEYS[1]}


def test_folders_are_deleted_with_their_own_seals_only(storage):
    more = ("rounds/0001/scores/a.parquet", "rounds/0001/scoresheet.json", "rounds/0002/a.json")
    for key in more:
        storage.write_bytes(key, b"1")
    storage.seal(more)
    storage.delete("rounds/0001/scores")
    assert set(storage.seals("rounds")) == {*KEYS[:2], *more[1:]}


def test_a_seal_is_kept_when_files_are_sealed_again(storage):
    change(storage, KEYS[2], b"changed")
    storage.seal(KEYS)
    with pytest.raises(StoreError):
        storage.read_bytes(KEYS[2])


def test_of_a_large_table_pages_and_end_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(seals, "LARGE", 5000)
    monkeypatch.setattr(seals, "TAIL", 1000)
    storage = Storage(str(tmp_path))
    numbers = np.random.default_rng(0).integers(0, 1 << 60, 2000)
    table = pa.table({"a": numbers, "b": numbers[::-1]})
    storage.write_table("large.parquet", table)
    storage.seal(["large.parquet"])
    content = storage.read_bytes("large.parquet")
    assert storage.read_table("large.parquet") == table
    for place in (4000, len(content) - 2500, len(content) - 500):
        damaged = bytearray(content)
        damaged[place] ^= 4
        change(storage, "large.parquet", damaged)
        with pytest.raises(StoreError, match=r"large\.parquet.* damaged; |checksum is not"):
            storage.read_table("large.parquet")
        with pytest.raises(StoreError):
            storage.verify("large.parquet")
    change(storage, "large.parquet", content)
    storage.verify("large.parquet")


def test_a_footer_larger_than_the_tail_is_in_the_checksum(tmp_path, monkeypatch):
    monkeypatch.setattr(seals, "LARGE", 500)
    monkeypatch.setattr(seals, "TAIL", 100)
    storage = Storage(str(tmp_path))
    for name in ("a", "b"):
        storage.write_table("t.parquet", TABLE.replace_schema_metadata({"x": name + "y" * 900}))
        found = seal_of("t.parquet", pa.BufferReader(storage.read_bytes("t.parquet")))
        assert storage.size("t.parquet") == found.size
        storage.write_bytes(name, str(found.checksum).encode())
    assert storage.read_bytes("a") != storage.read_bytes("b")


def test_a_damaged_file_of_seals_is_told(storage):
    path = storage.path("seals/rounds/0001.json")
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content.replace(b'"checksum": ', b'"checksum": 1'))
    with pytest.raises(StoreError, match=r"0001\.json is damaged"):
        storage.read_bytes(KEYS[1])


def test_what_another_process_sealed_is_known(storage):
    other = Storage(storage.root + "/")
    assert other.is_sealed(KEYS[1])
    seals._REMEMBERED.clear()
    change(storage, KEYS[1], b"{}")
    with pytest.raises(StoreError, match="it has 2 bytes"):
        storage.read_json(KEYS[1])


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("bandit.json", "bandit.json"),
        ("rounds/0001/batch.parquet", "rounds/0001"),
        ("features/x/pool/mood/posts/part.parquet", "features/x/pool"),
    ],
)
def test_seals_are_stored_by_folder(key, group):
    assert group_of(key) == group


def test_a_full_disk_is_said_where_a_seal_is_written(storage, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    storage.write_json("rounds/0002/metrics.json", {"accuracy": 0.6})
    monkeypatch.setattr(seals, "write_file", full)
    with pytest.raises(StoreError, match=r"cannot seal rounds/0002/metrics.json .*free some space"):
        storage.seal(["rounds/0002/metrics.json"])
    with pytest.raises(StoreError, match=r"cannot unseal rounds/0001 .*free some space"):
        storage.unseal("rounds/0001")


def test_a_folder_in_place_of_seals_is_told(storage):
    path = Path(storage.path(seals_key(KEYS[1])))
    path.unlink()
    path.mkdir()
    assert list(storage.damaged_seals("")) == [seals_key(KEYS[1])]
    for use in (storage.is_sealed, storage.read_json):
        with pytest.raises(StoreError, match="it is no file: move it away"):
            use(KEYS[1])
