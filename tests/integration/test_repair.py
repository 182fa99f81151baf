"""Damage to each kind of stored file: somebody tells, and what can be computed again comes back."""

import shutil
from itertools import cycle
from pathlib import Path

import pytest

from docs import faults
from umc_ray.campaign import repair as repairing
from umc_ray.campaign.repair import can_be_computed, repair
from umc_ray.campaign.verify import check_files, verify
from umc_ray.errors import StoreError
from umc_ray.seals import seals_key

pytestmark = [pytest.mark.ray]


def damage(storage, keys):
    """Damage files, each in another way; returns their contents before."""
    before = {}
    for key, way in zip(keys, cycle(faults.DAMAGES), strict=False):
        path = Path(storage.path(key))
        before[key] = path.read_bytes()
        way(path, Path(storage.path("campaign.json")))
    return before


def test_no_damage_is_silent_and_the_documentation_has_the_table(campaign):
    storage = campaign.run.storage
    assert verify(storage).unsealed == ()
    found = faults.outcomes(storage)
    assert "silent" not in {each for row in found.values() for each in row}
    assert faults.page(found) == faults.PAGE.read_text(encoding="utf-8")


def test_what_follows_from_other_files_comes_back_as_it_was(campaign):
    storage = campaign.run.storage
    keys = [each[0] for each in faults.kinds(storage).values()]
    before = damage(storage, [key for key in keys if can_be_computed(key)])
    found = repair(campaign.run)
    assert (set(found.same), found.different, found.later) == (set(before), (), ())
    assert {key: storage.read_bytes(key) for key in before} == before
    assert verify(storage).damaged == {}


def test_a_repair_that_was_interrupted_is_done_by_the_next_one(campaign, monkeypatch):
    storage = campaign.run.storage
    keys = [key for key in storage.seals("models") if key.endswith("model.safetensors")]
    before = damage(storage, keys[:2])
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(repairing, "bring_in", lambda _: 1 / 0)
        repair(campaign.run)
    assert set(verify(storage).damaged) == set(before)
    with pytest.raises(StoreError, match="a repair of it was interrupted"):
        check_files(storage)
    assert set(repair(campaign.run).same) == set(before)
    assert {key: storage.read_bytes(key) for key in before} == before
    check_files(storage)


def test_what_a_damaged_seal_was_of_is_computed_again_or_stays_unverified(campaign):
    storage = campaign.run.storage
    keys = [*storage.seals("models/mood/0002/"), *storage.seals("rounds/0002/")]
    model = next(key for key in keys if key.endswith("model.safetensors"))
    before = storage.read_bytes(model)
    for key in {seals_key(each) for each in keys}:
        Path(storage.path(key)).write_bytes(b"{")
    Path(storage.path(model)).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    found = repair(campaign.run)
    assert found.different == (model,)
    assert storage.read_bytes(model) == before
    assert "rounds/0002/batch.parquet" in found.unverified
    assert {*found.same, *found.different, *found.unverified} >= {*keys}
    assert verify(storage).unsealed == found.unverified
    again = repair(campaign.run)
    assert (again.same, again.unverified) == ((), found.unverified)
    assert repair(campaign.run, accept=True).accepted == found.unverified
    assert verify(storage).unsealed == ()


def test_labels_that_were_lost_with_their_seals_come_back_from_the_answers(campaign):
    storage, key = campaign.run.storage, "rounds/0002/labels.parquet"
    labels = storage.read_table(key)
    shutil.rmtree(storage.path("seals"))
    storage.write_table(key, labels.slice(5))
    found = repair(campaign.run, accept=True)
    assert (found.same, found.different, found.later) == ((), (key,), ())
    assert storage.read_table(key).equals(labels)
    assert verify(storage).damaged == {}


def test_what_follows_from_nothing_stays_as_it_is(campaign):
    storage = campaign.run.storage
    before = damage(storage, ["rounds/0001/batch.parquet", "rounds/0001/gaps.json"])
    with pytest.raises(StoreError, match=r"rounds/0001/batch\.parquet .*Nothing was changed"):
        repair(campaign.run)
    assert storage.size("rounds/0001/gaps.json") == len(before["rounds/0001/gaps.json"])
