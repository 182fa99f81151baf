"""A campaign on the rows of a table: it is run, released, scored and served.

One group is a fifth of the pool, and has a floor.

Suffixes: N samples.
"""

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.encoders.table import Table
from umc_ray.records import DomainKey, embeddings_array
from umc_ray.release.export import write_release
from umc_ray.report.fairness import group_lines
from umc_ray.report.report import write_report
from umc_ray.serving.messages import Sample
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.scorer import InvalidSample
from umc_ray.specialists.ensemble import decision_key, load_specialist
from umc_ray.specialists.trees import Trees
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COLUMNS = ["age", "work", "gain"]
LOANS = DomainKey("loans", "bank")


def rows(n, seed):
    """Rows whose label is told by a number and a category together; some values are missing."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        age, work = round(rng.uniform(18, 90), 2), str(rng.choice(["Private", "State", "Self"]))
        good = (age > 50) == (work != "State")
        gain = "" if rng.random() < 0.3 else f"{rng.exponential(1000):.2f}"
        found.append(
            {
                "id": f"{seed}-{i}",
                "age": "" if gain and i % 29 == 5 else age,
                "work": "?" if i % 31 == 7 else work,
                "gain": gain,
                "sex": "f" if i % 5 == 0 else "m",
                "label": "good" if good else "bad",
            }
        )
    return found


def write(path, found):
    tiny.write_csv(path, found, columns=found[0])


@pytest.fixture(scope="module")
def campaign(ray_cluster, made_once):
    def fill(folder):
        bad = {"id": "empty", "age": "", "work": "", "gain": "", "sex": "f", "label": "bad"}
        write(folder / "pool.csv", [*rows(400, 1), bad])
        write(folder / "test.csv", rows(200, 2))
        values = {
            "name": "loans",
            "storage": "runs",
            "tasks": {
                "loans": {
                    "kind": "classification",
                    "labels": ["bad", "good"],
                    "encoder": {"kind": "table", "workers": 1},
                    "domains": {
                        "bank": {
                            "source": "pool.csv",
                            "test": "test.csv",
                            "columns": COLUMNS,
                            "key": "id",
                            "label": "label",
                            "keep": ["gain"],
                            "groups": ["sex"],
                        }
                    },
                }
            },
            "budget": {"labels": 160, "per_round": 80},
            "annotation": {"backend": "replay"},
            "fairness": {
                "reweighing": 0.5,
                "group_floor": 0.4,
                "smallest_group": 10,
                "thresholds": True,
            },
            "ingest": {"rows_per_part": 150},
        }
        run_campaign(Run(load_campaign(tiny.write_campaign(folder, values))))

    return made_once("tables", fill) / "campaign.yaml"


@pytest.fixture
def run(campaign):
    return Run(load_campaign(campaign))


def test_a_line_and_trees_learn_from_the_columns_of_a_table(run):
    assert run.round_metrics(2)[-1].test_utility > 0.85
    ensemble = run.training(3).ensembles["loans"]
    assert ensemble.specialists == ("bank", "trees-bank")
    member = load_specialist(run.storage, f"{ensemble.folder}/trees-bank")
    assert isinstance(member, Trees)
    assert not [key for key in run.storage.keys("") if key.endswith((".pkl", ".pickle", ".joblib"))]


def test_a_sample_is_readable_and_an_empty_row_is_in_quarantine(run):
    texts = {
        row["key"]: row["text"]
        for part in run.pools
        for row in run.storage.read_table(part.key("pool")).to_pylist()
    }
    assert len(texts) == 400
    for row in rows(400, 1)[:40]:
        lines = [f"{name}: {row[name]}".strip() for name in COLUMNS]
        assert texts[row["id"]] == "\n".join(lines)
    reasons = [
        row["reason"]
        for key in run.storage.keys("quarantine")
        for row in run.storage.read_table(key).to_pylist()
    ]
    assert reasons == ["empty row: no value in age, work, gain"]


def test_what_was_learned_of_the_pool_encodes_everything(run):
    (config,) = run.config.tasks["loans"].named_encoders.values()
    assert config.path == f"{run.storage.root}/encoders/loans/table.json"
    encoder = Table.of(config)
    assert [column.name for column in encoder.fit.columns] == COLUMNS
    for part in run.parts:  # of the pool and of the test
        texts = run.storage.read_table(part.key("pool"))["text"].to_pylist()
        (table,) = run.features["loans"].values()
        stored = run.storage.read_table(part.key(table))
        expected_ND = encoder.encode([encoder.prepare(text) for text in texts])
        np.testing.assert_array_equal(embeddings_array(stored["embedding"]), expected_ND)


def test_the_report_reads_the_embeddings_of_the_rows(run):
    html = Path(write_report(run)).read_text(encoding="utf-8")
    assert "Coverage" in html
    assert "Share of labels and of pool by sex differ" in html
    assert History.of(run).features("loans") == run.selection_features["loans"]


def test_each_round_measures_groups_and_selects_the_floor_of_each(run):
    sexes = {
        i: sex
        for part in run.pools
        for i, sex in zip(
            run.storage.read_table(part.key("pool"))["sample_id"].to_pylist(),
            run.storage.read_table(part.key("kept"))["sex"].to_pylist(),
            strict=True,
        )
    }
    for number, fairness in run.fairness(2).items():
        found = fairness.domains["loans/bank"]
        assert [(each.name, each.n) for each in found.test[0].groups] == [("f", 40), ("m", 160)]
        assert found.audit[0].n >= 8 * number
        (shares,) = found.representation
        assert [(each.name, each.pool) for each in shares.groups] == [("f", 80), ("m", 320)]
        batch = run.storage.read_table(f"rounds/{number:04d}/batch.parquet").to_pylist()
        selected = [sexes[row["sample_id"]] for row in batch if not row["audit"]]
        assert selected.count("f") >= int(0.4 * len(selected))
        effect = found.thresholds
        assert effect.odds == found.test[-1].equalized_odds
        assert (effect.utility == effect.utility_before) or effect.shifts
    assert list(run.fairness(2)) == [1, 2]
    (line,) = group_lines(run)
    assert line.startswith("groups of loans/bank: equalized odds differ by ")


def test_a_second_start_changes_nothing(run, campaign):
    before = {key: run.storage.read_bytes(key) for key in run.storage.keys("encoders")}
    assert run_campaign(Run(load_campaign(campaign))).new_rounds == 0
    assert {key: run.storage.read_bytes(key) for key in run.storage.keys("encoders")} == before


def test_the_release_has_rows_as_texts_and_columns_that_are_kept(run):
    release = Storage(write_release(run, "tables"))
    tables = [release.read_table(key) for key in release.keys("") if key.endswith(".parquet")]
    assert not [table for table in tables if "sex" in table.column_names]
    card = release.read_bytes("README.md").decode()
    assert "## Ethics" in card
    assert "Warning, loans/bank: share of labels and of pool by sex differ by" in card
    found = [row for table in tables for row in table.to_pylist() if row.get("text")]
    assert len(found) >= 160
    assert all(row["text"].startswith("age:") for row in found)
    gains = {row["text"].rpartition("gain:")[2].strip() for row in found}
    assert {row["gain"] for row in found if row["gain"]} <= gains


def test_new_rows_are_scored_and_served_alike(run, campaign, tmp_path):
    new = rows(60, 3)
    write(tmp_path / "new.csv", new)
    assert score_new(run, str(tmp_path / "new.csv"), LOANS, str(tmp_path / "out")).rows == 60
    by_key = {row["key"]: row for row in tiny.rows_in(tmp_path / "out")}
    right = [by_key[row["id"]]["label_1"] == row["label"] for row in new]
    assert np.mean(right) > 0.8

    scorer = tiny.live_scorer(campaign, "loans")
    decision = run.storage.read_json(decision_key(run.training(3).ensembles["loans"].folder))
    assert set(decision["groups"]) <= {"bank/f", "bank/m"}
    samples = ["\n".join(f"{name}: {row[name]}" for name in COLUMNS) for row in new]
    payloads = [scorer.validate(Sample(text=text)) for text in [*samples, "no row at all"]]
    (found,) = scorer.predict([payloads])
    assert isinstance(found.rows[-1], InvalidSample)
    assert "for any of the columns age, work, gain" in found.rows[-1].reason
    pairs = zip(samples, new, strict=True)
    named = [Sample(text=text, group={"sex": row["sex"]}) for text, row in pairs]
    asked = scorer.asked([*named, Sample(text="no row at all")], None)
    found = scorer.as_asked(found, asked)
    columns = scorer.columns(found, asked)
    for row, prediction, column in zip(new, found.rows, columns, strict=False):
        expected = by_key[row["id"]]
        assert prediction.scored.label == column["label_1"] == expected["label_1"]
        np.testing.assert_allclose(prediction.scored.certainty, expected["prob_1"], atol=1e-5)
    with pytest.raises(Refusal, match="group must have the groups of the domain: sex"):
        scorer.asked([Sample(text="x", group={"age": "old"})], None)
