"""Labels that are corrected, imported or forgotten between the rounds of a campaign."""

import csv
import json
import shutil
from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import tiny
from tests.integration.test_given_labels import answer
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.forget import forget
from umc_ray.campaign.history import History
from umc_ray.campaign.relabel import import_labels, relabel
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations, ConfigError, DataError
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report

pytestmark = pytest.mark.ray

POSTS = DomainKey("mood", "posts")


TRUTH = {row["text"]: row["label"] for row in tiny.texts(120, seed=3)}


@pytest.fixture(scope="module")
def begun(ray_cluster, tmp_path_factory):
    """A campaign with a sheet whose first round is answered and whose second one is open."""
    folder = tmp_path_factory.mktemp("begun")
    values = tiny.campaign(
        folder, budget={"labels": 20, "per_round": 10}, annotation={"backend": "sheet"}
    )
    values["tasks"]["mood"]["domains"].pop("reviews")
    run = Run(load_campaign(tiny.write_campaign(folder, values)))
    with closing(run.store):
        wait(run)
        answer(run, 1, TRUTH)
        wait(run)
    return folder


@pytest.fixture
def asked(begun, tmp_path):
    """A copy of it, to work on."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    run = Run(load_campaign(tmp_path / "campaign.yaml"))
    with closing(run.store):
        yield run, TRUTH


def wait(run):
    with pytest.raises(AwaitingAnnotations):
        run_campaign(run)


def labels(run, rounds=2):
    """The labels that the release has, by id."""
    batches = History(run, rounds).batches
    pairs = zip(batches["sample_id"].to_pylist(), batches["label"].to_pylist(), strict=True)
    return dict(pairs)


def other(label):
    return {"good": "bad", "bad": "good"}[label]


def change_sheet(run, number, line, label):
    """Change what a line of a sheet says; returns the sample's id."""
    path = run.storage.path(f"rounds/{number:04d}/sheet.csv")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    rows[line]["label"] = label(rows[line]["label"])
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return int(rows[line]["sample_id"].removeprefix("s"))


def test_corrected_answers_of_a_closed_round_count_from_the_next_one_on(asked, caplog):
    run, truth = asked
    before = labels(run, 1)
    changed = change_sheet(run, 1, 0, other)
    skipped = change_sheet(run, 1, 1, lambda _: "skip")
    decided = int(run.storage.read_table("rounds/0001/labels.parquet")["sample_id"][5].as_py())
    if decided in (changed, skipped):
        decided = next(each for each in before if each not in (changed, skipped))
    assert relabel(run, POSTS, f"s{decided}", other(before[decided]), "ada") == decided
    answer(run, 2, truth)
    run_campaign(run)
    assert "round 2 takes over 3 corrected labels: " in caplog.text
    after = labels(run)
    assert {key for key in before if after[key] != before[key]} == {changed, skipped, decided}
    assert (after[changed], after[skipped]) == (other(before[changed]), None)
    taught = run.storage.read_json("rounds/0002/training.json")["rows"]
    assert taught == sum(label is not None for label in after.values())
    closed = run.storage.read_table("rounds/0001/labels.parquet")  # as it was
    assert (
        dict(zip(*(closed[name].to_pylist() for name in ("sample_id", "label")), strict=True))
        == before
    )


def test_a_correction_after_the_last_round_is_taken_over_by_the_next_run(asked, tmp_path):
    run, truth = asked
    answer(run, 2, truth)
    run_campaign(run)
    published = run.storage.read_json("published.json")
    before = labels(run)
    sample = next(iter(before))
    relabel(run, POSTS, f"s{sample}", other(before[sample]), "ada")
    outcome = run_campaign(run)
    assert (outcome.rounds, outcome.new_rounds) == (2, 0)
    assert labels(run) == {**before, sample: other(before[sample])}
    assert run.storage.read_json("published.json")["version"] != published["version"]
    again = run.storage.read_json("published.json")
    run_campaign(run)  # nothing is left to take over
    assert run.storage.read_json("published.json") == again
    rows = pq.read_table(f"{write_release(run)}/data/mood/posts.parquet").to_pylist()
    assert {row["sample_id"]: row["label"] for row in rows} == labels(run)


def test_learning_again_that_is_interrupted_is_done_again(asked):
    run, truth = asked
    answer(run, 2, truth)
    run_campaign(run)
    metrics = run.storage.read_json("rounds/0002/metrics.json")
    run.storage.delete_file("rounds/0002/scores.json")
    run_campaign(run)
    assert run.storage.read_json("rounds/0002/metrics.json") == metrics


def test_imported_labels_train_are_not_asked_and_cost_nothing(asked, tmp_path):
    run, truth = asked
    open_ids = set(run.storage.read_table("rounds/0002/batch.parquet")["sample_id"].to_pylist())
    done = set(run.storage.read_table("rounds/0001/batch.parquet")["sample_id"].to_pylist())
    pool = run.storage.read_table(run.pool(POSTS)[0].key("pool")).to_pylist()
    free = [row for row in pool if row["sample_id"] not in open_ids | done][:8]
    rows = [{"key": row["key"], "label": truth[row["text"]], "time": 1e9} for row in free]
    rows[0] |= {"label": " GOOD ", "annotator": "bob"}
    key = free[1]["key"]
    rows += [{"key": "nowhere", "label": "good"}, {}, {"key": key, "label": "so so"}]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = import_labels(run, str(path), "ada")
    assert (found.rows, found.new, len(found.bad)) == (8, 8, 3)
    assert "row 9: mood/posts has no sample 'nowhere'" in found.bad[0]
    assert "row 10: neither key nor sample_id" in found.bad[1]
    assert "row 11: label 'so so'" in found.bad[2]
    assert import_labels(run, str(path), "ada").new == 0
    answer(run, 2, truth)
    run_campaign(run)
    after = labels(run)
    assert {row["sample_id"] for row in free} < after.keys()
    assert after[free[0]["sample_id"]] == "good"
    last = History(run, 2).metrics[-1]
    assert (last.labels, last.cost) == (28, 20)
    given = run.storage.read_table("rounds/0000/labels.parquet").to_pylist()
    assert [(row["votes"], row["cost"]) for row in given] == [(1, 0.0)] * 8
    answers = {answer.sample_id: answer for answer in run.store.answers(run.config.name, 0)}
    assert answers[free[0]["sample_id"]].annotator == "bob"
    assert {answer.submitted_at for answer in answers.values()} == {1e9}


def test_the_same_sample_imported_as_one_then_another_then_the_first_label_ends_there(
    asked, tmp_path
):
    run, _ = asked
    sample = run.storage.read_table("rounds/0001/batch.parquet")["sample_id"][0].as_py()
    for label in ("good", "bad", "good"):
        rows = f"sample_id;label;annotator\ns{sample};{label};bøb\n"
        (tmp_path / "labels.csv").write_text(rows, encoding="cp1252")
        import_labels(run, str(tmp_path / "labels.csv"), "ada", "cp1252", ";")
    key = ("tiny", "mood", sample)
    (answer,) = (a for a in run.store.answers("tiny") if a.key == key and a.annotator == "bøb")
    assert answer.label == "good"


def test_a_forgotten_sample_leaves_pool_training_and_release(asked, tmp_path):
    run, truth = asked
    known = labels(run, 1)
    learned = next(iter(known))
    open_ids = run.storage.read_table("rounds/0002/batch.parquet")["sample_id"].to_pylist()
    gone = [learned, open_ids[0]]
    assert forget(run, POSTS, [f"s{each}" for each in gone]) == gone
    for part in run.pool(POSTS):
        rows = run.storage.read_table(part.key("pool")).to_pylist()
        blank = {row["sample_id"] for row in rows if row["text"] is None}
        assert blank == {row["sample_id"] for row in rows} & set(gone)
    answer(run, 2, truth | {"None": "good"})
    run_campaign(run)
    after = labels(run)
    assert (after[learned], after[open_ids[0]]) == (None, None)
    assert run.storage.read_json("rounds/0002/training.json")["rows"] == 18
    assert set(run.storage.read_json("unusable.json")["mood/posts"]) == set(gone)
    rows = pq.read_table(f"{write_release(run)}/data/mood/posts.parquet").to_pylist()
    assert not {row["sample_id"] for row in rows} & set(gone)
    write_report(run)
    with pytest.raises(DataError, match=f"s{learned} of mood/posts was forgotten"):
        relabel(run, POSTS, f"s{learned}", "good", "ada")
    (tmp_path / "labels.csv").write_text(f"sample_id,label\ns{learned},good\n", encoding="utf-16")
    found = import_labels(run, str(tmp_path / "labels.csv"), "ada")
    assert (found.rows, found.bad) == (
        0,
        (f"{tmp_path}/labels.csv row 1: s{learned} was forgotten",),
    )
    scores = [run.storage.read_table(part.key("rounds/0002/top")) for part in run.pool(POSTS)]
    candidates = np.concatenate([table["sample_id"].to_numpy() for table in scores])
    assert not np.isin(gone, candidates).any()


def test_what_is_not_there_cannot_be_corrected(asked):
    run, _ = asked
    with pytest.raises(DataError, match="mood/posts has no sample 'x'; name it by its key"):
        relabel(run, POSTS, "x", "good", "ada")
    with pytest.raises(DataError, match="label 'fine' is not one of bad, good"):
        relabel(run, POSTS, "posts.csv#1", "fine", "ada")
    with pytest.raises(ConfigError, match="no domain mood/none, the campaign has mood/posts"):
        relabel(run, DomainKey("mood", "none"), "x", "good", "ada")
    with pytest.raises(DataError, match="no sample 'x'"):
        forget(run, POSTS, ["posts.csv#1", "x"])
    assert not run.storage.exists("forgotten.json")
