"""Propagated labels are released separately from annotated ones."""

import logging

import mlcroissant
import pyarrow as pa
import pytest
import yaml

from tests.finished import build_run
from tests.report.test_report import read
from umc_ray.records import NEAR_DUPLICATES
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.storage import Storage

SHOP = "near_duplicates/mood/shop.parquet"


def near_duplicate(task, domain, sample_id, label, label_of):
    row = sample_id % 1000
    place = {"part": f"part-{row // 6}", "row": row % 6, "sample_id": sample_id}
    return {
        "task": task,
        "domain": domain,
        **place,
        "label": label,
        "label_of": label_of,
        "similarity": 0.99,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with near-duplicates.

    In shop, one audit is right (2) and one is wrong (4); in scans, both are wrong.
    """
    run = build_run(str(tmp_path_factory.mktemp("runs")))
    rows = [
        near_duplicate("mood", "shop", 6, "good", 3),
        near_duplicate("mood", "shop", 5, "bad", 0),
        near_duplicate("mood", "shop", 2, "bad", 0),
        near_duplicate("mood", "shop", 4, "good", 3),
        near_duplicate("shapes", "scans", 2002, "$x^$", 2003),
        near_duplicate("shapes", "scans", 2004, "1", 2003),
        near_duplicate("shapes", "scans", 2008, "1", 2003),
    ]
    table = pa.Table.from_pylist(rows, schema=NEAR_DUPLICATES)
    run.storage.write_table("rounds/0001/near_duplicates.parquet", table)
    return run


@pytest.fixture(scope="module")
def folder(run):
    return Storage(write_release(run))


def test_near_duplicates_name_their_origin_and_exclude_queried_samples(folder):
    rows = folder.read_table(SHOP).to_pylist()
    assert [row["sample_id"] for row in rows] == [5, 6]
    expected = {
        "label": "good",
        "domain": "shop",
        "key": "key-6",
        "source": "a.parquet",
        "origin": "near_duplicate",
        "label_of": 3,
        "similarity": pytest.approx(0.99),
    }
    assert {name: rows[1][name] for name in expected} == expected
    assert " number 6 " in rows[1]["text"]


def test_annotated_labels_are_unchanged(folder, finished):
    without = Storage(write_release(finished, "without"))
    for key in without.keys("data"):
        assert folder.read_bytes(key) == without.read_bytes(key)
    assert without.keys("near_duplicates") == []


def test_a_domain_with_revoked_labels_releases_none(folder):
    assert folder.keys("near_duplicates") == [SHOP]


def test_card_and_provenance_count_them(folder):
    _, front, body = folder.read_bytes("README.md").decode().split("---\n", 2)
    card = yaml.safe_load(front)
    assert [each["config_name"] for each in card["configs"]] == [
        "mood",
        "shapes",
        "mood-near_duplicates",
    ]
    assert card["configs"][2]["data_files"][0]["path"] == "near_duplicates/mood/*.parquet"
    info = card["dataset_info"][2]
    assert info["splits"][0]["num_examples"] == 2
    assert [each["name"] for each in info["features"]] == folder.read_table(SHOP).column_names
    assert "| mood/shop | 2 | 2 | 1 | 1.3% to 98.7% |" in body
    provenance = folder.read_json("provenance.json")
    counts = {name: each["samples"] for name, each in provenance["near_duplicates"].items()}
    assert counts == {"mood/shop": 4, "shapes/scans": 3}
    assert SHOP in provenance["sha256"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's use of rdflib, pandas
def test_they_have_their_own_record_set_in_croissant(folder, caplog):
    with caplog.at_level(logging.ERROR):
        dataset = mlcroissant.Dataset(folder.path("croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    name = "mood/shop/near_duplicates"
    assert [each[f"{name}/label_of"] for each in dataset.records(name)] == [0, 3]


def test_the_report_shows_the_error_rate_and_the_consequence(run):
    write_report(run)
    page = read(run)
    rows = [row for row in page.rows if row and row[-1].startswith(("kept", "revoked"))]
    assert rows == [
        ["mood/shop", "4", "2", "1", "1.3% to 98.7%", "kept"],
        ["shapes/scans", "3", "2", "2", "15.8% to 100.0%", "revoked: too many errors"],
    ]
