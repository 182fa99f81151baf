"""Synthetic samples are released apart from real ones, or not at all."""

import logging
from dataclasses import replace

import mlcroissant
import numpy as np
import pytest
import yaml

from tests.finished import build_run
from tests.report.test_report import read
from umc_ray.diversity.generators.generator import Generated
from umc_ray.diversity.synthetic import Checked, Origin, read_origins, write_part
from umc_ray.diversity.validation import Verdict, acceptance, human_ratings, standings
from umc_ray.methods.identity import uniform
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.report.summary import _synthetic_lines
from umc_ray.storage import Storage

SHOP = DomainKey("mood", "shop")
FILE = "synthetic/mood/shop.parquet"
MADE, ATTACK = 8, "<b>writer</b>"


def generated(i):
    sample = Generated(f"made {i}", "good", exemplars=(0, 3), prompt=f"write {i}", seed=i)
    return Checked(f"writer/{i}", sample, copy_ratio=0.5, agreement=0.25)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with samples of which people accepted two, then fixed one and rejected one."""
    run = build_run(str(tmp_path_factory.mktemp("runs")), tasks=("mood",))
    samples = [generated(i) for i in range(MADE)]
    origin = Origin(ATTACK, "v1", "few | good")
    part = write_part(run.storage, SHOP, "a", origin, samples, of_task=[])
    table = read_origins(run.storage, [part])
    ids = table["sample_id"].to_numpy()
    drawn = ids[np.argsort(uniform(ids, 0, "validate"))].tolist()
    said = dict(zip(drawn, ("good", "good", "bad", None), strict=False))
    verdicts = {("mood", i): Verdict(label, 1, 1.0, 2, 1.5) for i, label in said.items()}
    verdicts["mood", drawn[0]] = replace(verdicts["mood", drawn[0]], quality=4.0)
    stand = standings(table, verdicts, frozenset(), accept_rate=0.14, seed=0)
    run.storage.write_table("rounds/0003/standings.parquet", stand)
    run.storage.write_record("rounds/0003/synthetic.json", acceptance(stand, 3, 0))
    (metrics,) = run.round_metrics(3)[-1:]
    rated = replace(metrics, ratings=list(human_ratings(stand, 0)))
    run.storage.write_record("rounds/0003/metrics.json", rated)
    return run


@pytest.fixture(scope="module")
def folder(run):
    return Storage(write_release(run, "with"))


def test_what_stands_is_released_with_all_that_made_it(run, folder):
    rows = folder.read_table(FILE).to_pylist()
    assert sorted(row["quality"] or 0 for row in rows) == [0] * (MADE - 2) + [4]
    counts = {name: [r["standing"] for r in rows].count(name) for name in ("accepted", "fixed")}
    assert (len(rows), counts) == (MADE - 1, {"accepted": 2, "fixed": 1})
    assert {row["standing"] for row in rows} == {"accepted", "fixed", "admitted"}
    (fixed,) = (row for row in rows if row["standing"] == "fixed")
    number = fixed["seed"]
    expected = {
        "label": "bad",
        "made_for": "good",
        "text": f"made {number}",
        "domain": "shop",
        "key": f"writer/{number}",
        "generator": ATTACK,
        "version": "v1",
        "gap": "few | good",
        "exemplars": [0, 3],
        "exemplar_splits": ["train"],
        "prompt": f"write {number}",
        "round": 2,
        "votes": 1,
        "copy_ratio": 0.5,
        "model_agreement": 0.25,
    }
    assert {name: fixed[name] for name in expected} == expected


def test_one_flag_leaves_them_out_and_other_files_are_the_same(run, folder):
    without = Storage(write_release(run, "without", synthetic=False))
    assert without.keys("synthetic") == []
    assert without.keys("data") == folder.keys("data")
    for key in without.keys("data"):
        assert folder.read_bytes(key) == without.read_bytes(key)
    assert "ynthetic samples" not in without.read_bytes("README.md").decode()
    assert without.read_json("provenance.json")["synthetic"] == []
    release = run.config.release.model_copy(update={"synthetic": False})
    config = run.config.model_copy(update={"release": release})
    by_campaign = Storage(write_release(type(run)(config), "by-campaign"))
    assert by_campaign.keys("synthetic") == []


def test_card_and_provenance_say_what_was_made_and_accepted(folder):
    _, front, body = folder.read_bytes("README.md").decode().split("---\n", 2)
    card = yaml.safe_load(front)
    assert [each["config_name"] for each in card["configs"]] == ["mood", "mood-synthetic"]
    assert card["configs"][1]["data_files"] == [
        {"split": "synthetic", "path": "synthetic/mood/*.parquet"}
    ]
    names = [each["name"] for each in card["dataset_info"][1]["features"]]
    assert names == folder.read_table(FILE).column_names
    assert "| 8 | 2 | 1 | 1 | 4 | 4 | 50.0%, 15.0% to 85.0% |" in body
    assert "rated 1 of the samples" in body
    assert "4.0 on average (95 %: 1.5 to 4.9)" in body
    provenance = folder.read_json("provenance.json")
    (rating,) = provenance["quality"]
    assert (rating["generator"], rating["rated"], rating["quality"]["value"]) == (ATTACK, 1, 4.0)
    (group,) = provenance["synthetic"]
    assert (group["generator"], group["made"], group["rate"]["value"]) == (ATTACK, MADE, 0.5)
    assert FILE in provenance["sha256"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's use of rdflib, pandas
def test_they_have_their_own_record_set_in_croissant(folder, caplog):
    with caplog.at_level(logging.ERROR):
        dataset = mlcroissant.Dataset(folder.path("croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    name = "mood/shop/synthetic"
    assert len([each[f"{name}/exemplars"] for each in dataset.records(name)]) == MADE - 1


def test_report_and_status_count_them(run):
    write_report(run)
    page = read(run)
    assert page.open == []
    row, rating = (row for row in page.rows if ATTACK in row)
    assert rating == ["mood/shop", ATTACK, "1", "4.0(1.5 to 4.9)"]
    assert row[:4] == ["mood/shop", ATTACK, "few | good", "good"]
    assert row[4:11] == ["8", "2", "1", "1", "4", "0", "0"]
    assert row[-1].startswith("50.0% of 4")
    (line,) = _synthetic_lines(run)
    assert line == "of 8 synthetic samples: 2 accepted, 1 fixed, 1 rejected, 4 admitted"
