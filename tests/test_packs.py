"""The campaigns in examples/ on real tables: their files have what the campaigns ask for."""

import csv
from collections import Counter

import pytest

from examples import keel
from examples.land import prepare as land
from examples.proteins import prepare as proteins
from examples.shuttle import prepare as shuttle
from tests.tiny import ROOT
from umc_ray.config.loading import load_campaign

PACKS = {"land": land, "proteins": proteins, "shuttle": shuttle}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_third_of_each_class_is_held_out_and_the_first_of_equal_rows_counts(tmp_path):
    rows = [((float(i), 0.5), "ab"[i % 3 == 0]) for i in range(90)]
    keel.write(tmp_path, "some", ("x", "y"), [*rows, ((3.0, 0.5), "a")])
    pool, test = rows_of(tmp_path / "some.csv"), rows_of(tmp_path / "some-test.csv")
    assert Counter(row["label"] for row in test) == {"a": 20, "b": 10}
    assert Counter(row["label"] for row in pool) == {"a": 40, "b": 20}
    both = {float(row["x"]): row["label"] for row in [*pool, *test]}
    assert both == {numbers[0]: label for numbers, label in rows}
    assert len({row["id"] for row in [*pool, *test]}) == 90
    keel.write(tmp_path, "few", ("x", "y"), rows, most={"a": 7})
    few = rows_of(tmp_path / "few.csv")
    assert Counter(row["label"] for row in few) == {"a": 7, "b": 20}
    assert rows_of(tmp_path / "few-test.csv") == test


@pytest.mark.network
@pytest.mark.parametrize("name", PACKS)
def test_files_have_the_columns_and_labels_of_the_campaign(name, tmp_path, monkeypatch):
    monkeypatch.setattr(PACKS[name], "DATA", tmp_path / "data")
    PACKS[name].main()
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text((ROOT / "examples" / name / "campaign.yaml").read_text())
    config = load_campaign(campaign)
    for key, domain in config.domains().items():
        for split in ("pool", "test"):
            (source,) = domain.sources(split)
            rows = rows_of(tmp_path / source)
            assert {*domain.columns, *domain.groups, domain.key} <= rows[0].keys()
            labels = Counter(row[domain.label] for row in rows)
            assert set(labels) == set(config.tasks[key.task].labels)
            assert min(labels.values()) >= 3
            assert len({row[domain.key] for row in rows}) == len(rows)


@pytest.mark.network
def test_tables_of_one_class_against_others_tell_all_of_them():
    assert Counter(proteins.places().values()) == {
        "cytosol": 437, "nucleus": 425, "mitochondrion": 245, "membrane without signal": 162,
        "membrane with uncleaved signal": 51, "membrane with cleaved signal": 43, "outside": 35,
        "vacuole": 30, "peroxisome": 20,
    }  # fmt: skip
    assert Counter(shuttle.states().values()) == {
        "bypass": 3267, "radiator flow": 1706, "flow valve open": 171, "flow valve closed": 49,
        "bypass valve closed": 10,
    }  # fmt: skip
