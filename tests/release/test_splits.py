"""Splits, kept columns and classes of a release, as `datasets` reads them."""

import datetime
from dataclasses import replace
from itertools import chain

import pyarrow as pa
import pytest
import yaml

from tests.finished import build_run
from umc_ray.campaign.state import UNUSABLE
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import StoreError
from umc_ray.records import RELEASED
from umc_ray.release.dataset import columns
from umc_ray.release.export import write_release
from umc_ray.release.splits import split_rows
from umc_ray.storage import Storage

SPLITS = {"train": 0.5, "validation": 0.5, "test": "held_out"}
DAY = datetime.date(2024, 5, 1)


def changed(run, splits=SPLITS, keep=("day",)):
    """The run with other options of the release; mood/shop keeps a column."""
    values = run.config.model_dump()
    values["release"]["splits"] = splits
    values["tasks"]["mood"]["domains"]["shop"]["keep"] = list(keep)
    return replace(run, config=CampaignConfig.model_validate(values))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = build_run(str(tmp_path_factory.mktemp("runs")))
    for part in run.parts:
        if part.domain_key.domain == "shop":
            days = [DAY + datetime.timedelta(row) for row in range(part.rows)]
            run.storage.write_table(part.key("kept"), pa.table({"day": days}))
    run.storage.write_json(UNUSABLE, {"mood/shop": [503]})
    return changed(run)


@pytest.fixture(scope="module")
def folder(run):
    return Storage(write_release(run))


def read(folder, task, split=""):
    keys = folder.keys(f"data/{task}/{split}")
    return pa.concat_tables([folder.read_table(key) for key in keys])


def front(folder):
    return yaml.safe_load(folder.read_bytes("README.md").decode().split("---\n", 2)[1])


def test_shares_are_those_of_the_ids_whatever_else_there_is():
    ids = list(range(10_000))
    shares = {"train": 0.8, "test": 0.2}
    found = dict(split_rows(pa.table({"id": ids}), "id", shares))
    assert {name: len(rows) for name, rows in found.items()} == pytest.approx(
        {"train": 8000, "test": 2000}, abs=150
    )
    fewer = dict(split_rows(pa.table({"id": ids[::3]}), "id", shares))
    assert set(fewer["test"]["id"].to_pylist()) < set(found["test"]["id"].to_pylist())
    assert list(split_rows(pa.table({"id": pa.array([], pa.int64())}), "id", shares)) == []


def test_each_labeled_sample_is_in_one_split_and_test_data_in_that_which_is_held_out(folder, run):
    whole = Storage(write_release(changed(run, splits={}), "whole"))
    for task in ("mood", "shapes"):
        ids = read(whole, task)["sample_id"].to_pylist()
        parts = [read(folder, task, name)["sample_id"].to_pylist() for name in SPLITS][:2]
        assert sorted(chain(*parts)) == sorted(ids)
        assert all(parts)
    test = read(folder, "mood", "test").to_pylist()
    shop = [each for each in range(500, 510) if each != 503]  # which no encoder could read
    assert [row["sample_id"] for row in test] == [*range(1500, 1510), *shop]
    oracle = run.storage.read_table("oracle/test/mood/shop/part-0.parquet")
    known = dict(zip(oracle["sample_id"].to_pylist(), oracle["label"].to_pylist(), strict=True))
    assert [row["label"] for row in test[10:]] == [known[each] for each in shop]
    assert {row["why"] for row in test} == {"held out: its label came with its source"}
    assert {(row["round"], row["audit"], row["votes"], row["cost"]) for row in test} == {
        (0, False, 0, 0.0)
    }


def test_the_card_names_splits_and_classes_for_datasets(folder):
    card = front(folder)
    assert card["configs"][0]["data_files"] == [
        {"split": split, "path": f"data/mood/{split}/*.parquet"} for split in SPLITS
    ]
    info = card["dataset_info"][0]
    counts = {split["name"]: split["num_examples"] for split in info["splits"]}
    assert counts == {split: len(read(folder, "mood", split)) for split in SPLITS}
    types = {feature.pop("name"): feature for feature in info["features"]}
    names = {"class_label": {"names": {"0": "bad", "1": "good"}}}
    assert (types["label"], types["predicted"]) == ({"dtype": names}, {"dtype": names})
    assert types["day"] == {"dtype": "date32"}
    body = folder.read_bytes("README.md").decode()
    assert "- `validation`: 50.0% of the labeled samples, by a hash" in body
    assert "- `test`: the test data of the sources" in body
    assert "| posts | test | 12 | 10 | 0 | 0 | 5 | 5 |" in body


def test_kept_columns_follow_their_samples_and_are_empty_in_other_domains(folder):
    days = {row["sample_id"]: row["day"] for row in read(folder, "mood", "train").to_pylist()} | {
        row["sample_id"]: row["day"] for row in read(folder, "mood", "validation").to_pylist()
    }
    assert days[7] == DAY + datetime.timedelta(1)  # the second row of its part
    assert {day for sample_id, day in days.items() if sample_id >= 1000} == {None}
    assert "day" not in read(folder, "shapes", "train").column_names


@pytest.mark.parametrize("kind", ["data", "near_duplicates"])
def test_no_column_of_a_release_can_be_a_kept_one(run, kind):
    for name, task in run.config.tasks.items():
        own = {column.name for column in columns(task, kind, True, pa.schema([]))}
        assert own <= {*RELEASED, *run.kinds[name].measures_about}


def test_columns_that_were_not_kept_from_the_start_are_told(run):
    later = changed(run)
    run.storage.write_table("kept/spare.parquet", pa.table({}))
    values = later.config.model_dump()
    values["tasks"]["mood"]["domains"]["posts"]["keep"] = ["day"]
    later = replace(run, config=CampaignConfig.model_validate(values))
    with pytest.raises(StoreError, match="mood/posts keeps columns, but its pool was read without"):
        write_release(later, "later")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": 0.8, "test": 0.1}, r"must be above 0 and add up to 1, not to 0\.9"),
        ({"train": 1.2, "test": -0.2}, "must be above 0"),
        ({"a": "held_out", "b": "held_out"}, "held_out twice"),
        ({"train": "held_out"}, "train is held_out, so no split has the labeled samples"),
        ({"train-1": 1.0}, "pattern"),
    ],
)
def test_splits_must_add_up_and_have_names_that_datasets_allows(run, splits, message):
    with pytest.raises(ValueError, match=message):
        changed(run, splits=splits)


def test_held_out_needs_test_data(tmp_path):
    run = build_run(str(tmp_path), tests=False, rounds=1)
    with pytest.raises(ValueError, match="test is held_out, but no domain has test"):
        changed(run, keep=())


def test_nothing_says_that_people_gave_labels_that_were_known(folder):
    for name in ("README.md", "croissant.json"):
        text = folder.read_bytes(name).decode().casefold()
        assert "known label" in text
        for word in ("people", "person", "consensus", "human"):
            assert word not in text, (name, word)
