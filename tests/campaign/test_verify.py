import shutil

import pytest

from umc_ray.campaign.verify import UNFINISHED, check_files, verify
from umc_ray.errors import StoreError
from umc_ray.seals import OF_LOST_SEALS
from umc_ray.storage import Storage


@pytest.fixture
def storage(tmp_path):
    storage = Storage(str(tmp_path / "run"))
    for key in ("bandit.json", "rounds/0001/metrics.json", "rounds/0001/gaps.json"):
        storage.write_bytes(key, b"{}")
        storage.seal([key])
    storage.append_line("events.jsonl", "{}")
    return storage


def test_a_whole_run_directory_is_fine(storage):
    check_files(storage)
    found = verify(storage)
    assert (found.files, found.size, found.damaged, found.unsealed) == (3, 6, {}, ())


def test_files_of_earlier_versions_are_not_an_error(storage):
    storage.write_bytes("rounds/0002/gaps.json", b"{}")
    storage.write_bytes("rounds/0002/sheet.csv", b"a")
    check_files(storage)
    assert verify(storage).unsealed == ("rounds/0002/gaps.json",)


@pytest.mark.parametrize(
    "key", ["status.json", "rounds/0002/.~lock.sheet.csv#", "rounds/0002/sheet-ada.csv", "a.txt"]
)
def test_files_that_no_stage_stored_are_no_concern(storage, key):
    storage.write_bytes(key, b"{}")
    assert verify(storage).unsealed == ()


def test_what_a_repair_left_is_damaged_until_it_is_done(storage):
    storage.delete_file("rounds/0001/gaps.json")
    storage.write_json(UNFINISHED, {"rounds/0001/gaps.json": [2, 0]})
    with pytest.raises(StoreError, match=r"gaps\.json \(a repair of it was interrupted"):
        check_files(storage)
    assert verify(storage).damaged == {"rounds/0001/gaps.json": "a repair of it was interrupted"}
    storage.delete_file(UNFINISHED)
    assert verify(storage).damaged == {}


def test_what_is_missing_or_cut_is_named_at_the_start(storage, tmp_path):
    (tmp_path / "run/rounds/0001/metrics.json").unlink()
    (tmp_path / "run/rounds/0001/gaps.json").write_bytes(b"")
    with pytest.raises(StoreError) as raised:
        check_files(storage)
    said = str(raised.value)
    assert "rounds/0001/metrics.json (it is missing)" in said
    assert "rounds/0001/gaps.json (it has 0 bytes, 2 were stored)" in said
    assert "umc repair" in said
    assert set(verify(storage).damaged) == {"rounds/0001/metrics.json", "rounds/0001/gaps.json"}


def test_the_memory_of_the_bandit_may_be_missing(storage, tmp_path):
    (tmp_path / "run/bandit.json").unlink()
    check_files(storage)


def test_content_is_compared_where_all_is_read(storage, tmp_path):
    (tmp_path / "run/rounds/0001/gaps.json").write_bytes(b"[]")
    check_files(storage)
    assert verify(storage).damaged == {
        "rounds/0001/gaps.json": "its checksum is not that of what was stored"
    }


def test_a_damaged_file_of_seals_is_one_finding_and_the_rest_is_read(storage, tmp_path):
    (tmp_path / "run/seals/rounds/0001.json").write_bytes(b"[")
    (tmp_path / "run/bandit.json").write_bytes(b"[]")
    found = verify(storage)
    assert list(found.damaged) == ["bandit.json", "seals/rounds/0001.json"]
    assert OF_LOST_SEALS in found.damaged["seals/rounds/0001.json"]
    assert found.unsealed == ("rounds/0001/gaps.json", "rounds/0001/metrics.json")
    with pytest.raises(StoreError, match=r"seals/rounds/0001\.json .*umc repair"):
        check_files(storage)


def test_seals_that_are_all_gone_are_a_finding(storage, tmp_path):
    shutil.rmtree(tmp_path / "run/seals")
    found = verify(storage)
    assert list(found.damaged) == ["seals/"]
    assert len(found.unsealed) == 3


def test_what_has_no_seal_is_read_as_far_as_it_checks_itself(storage):
    storage.write_bytes("rounds/0002/gaps.json", b"{")
    storage.write_bytes("rounds/0002/scores.parquet", b"PAR1")
    storage.write_json("rounds/0002/metrics.json", {})
    found = verify(storage)
    assert list(found.damaged) == ["rounds/0002/gaps.json", "rounds/0002/scores.parquet"]
    assert found.unsealed == ("rounds/0002/metrics.json",)
