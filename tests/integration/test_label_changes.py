"""Labels that are renamed, merged and added in the middle of a campaign."""

import csv
import shutil
from contextlib import closing

import pyarrow.parquet as pq
import pytest
import yaml

from tests import tiny
from tests.integration.test_given_labels import answer
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.label_changes import change_labels
from umc_ray.campaign.publish import load_published, read_published
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations, ConfigError, StoreError
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.report.summary import update_status

pytestmark = pytest.mark.ray


def wait(path):
    run = Run(load_campaign(path))
    with closing(run.store), pytest.raises(AwaitingAnnotations):
        run_campaign(run)
    return run


def finish(path):
    run = Run(load_campaign(path))
    with closing(run.store):
        run_campaign(run)
    return run


@pytest.fixture(scope="module")
def begun(ray_cluster, tmp_path_factory):
    """A campaign with given labels and a sheet, whose second round is being answered."""
    folder, truth = tmp_path_factory.mktemp("begun"), {}
    values = tiny.campaign(
        folder, budget={"labels": 20, "per_round": 10}, annotation={"backend": "sheet"}
    )
    rows = tiny.texts(120, seed=3)
    known = [{**row, "label": row["label"] if i < 20 else ""} for i, row in enumerate(rows)]
    tiny.write_csv(folder / "posts.csv", known)
    path = tiny.write_campaign(folder, values)
    for row in rows + tiny.texts(160, seed=1):
        truth[row["text"]] = row["label"]
    answer(wait(path), 1, truth)
    wait(path)
    return folder, truth


@pytest.fixture
def opened(begun, tmp_path):
    """A copy of it, to work on."""
    folder, truth = begun
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "campaign.yaml"
    return path, Run(load_campaign(path)), truth


def sheet(run, number):
    with open(
        run.storage.path(f"rounds/{number:04d}/sheet.csv"), newline="", encoding="utf-8-sig"
    ) as file:
        return list(csv.DictReader(file))


def questions(run):
    with closing(run.store):
        return {question.key: question for question in run.store.questions(run.config.name)}


def test_stored_labels_follow_a_new_name_and_nothing_is_asked_twice(opened, tmp_path):
    path, run, truth = opened
    asked = questions(run)
    half = [row["sample"] for row in sheet(run, 2)[:5]]
    answer(run, 2, {text: truth[text] if text in half else "" for text in truth})
    assert change_labels(path, "mood", {"good": "positive"}) == ["bad", "positive"]
    task = yaml.safe_load(path.read_text())["tasks"]["mood"]
    assert (task["labels"], task["synonyms"]) == (["bad", "positive"], {"good": "positive"})
    run = wait(path)
    assert questions(run).keys() == asked.keys()
    rows = sheet(run, 2)
    renamed = {"good": "positive", "bad": "bad"}
    done = {row["sample"]: row["label"] for row in rows if row["label"]}
    assert done == {text: renamed[truth[text]] for text in half}
    assert all(row["choices"] == "bad | positive | skip" for row in rows)
    answer(run, 2, truth)  # with the old name, as somebody may still write it
    run = finish(path)
    released = pq.read_table(f"{write_release(run)}/data/mood/posts.parquet").to_pylist()
    assert {row["label"] for row in released} == {"bad", "positive"}
    assert all(row["label"] == renamed[truth[row["text"]]] for row in released)
    load_published(run.storage, run.config, read_published(run.storage))
    write_report(run)


def test_the_newest_round_learns_again_what_labels_are(opened):
    path, run, _ = opened
    before = read_published(run.storage)
    change_labels(path, "mood", {}, ["mixed", "none"])
    run = wait(path)
    after = read_published(run.storage)
    assert (after.round, after.version != before.version) == (1, True)
    assert after.ensembles["mood"].labels == ["bad", "good", "mixed", "none"]
    assert len(after.ensembles["mood"].canaries[0]) == 4
    assert len(sheet(run, 2)) == 10


def test_labels_that_are_merged_become_one(opened):
    path, run, truth = opened
    change_labels(path, "mood", {}, ["mixed"])
    change_labels(path, "mood", {"good": "other", "mixed": "other"})
    run = wait(path)
    assert run.config.tasks["mood"].labels == ["bad", "other"]
    answer(run, 2, {text: {"good": "mixed"}.get(label, label) for text, label in truth.items()})
    run = finish(path)
    labels = run.storage.read_table("rounds/0002/labels.parquet")["label"].to_pylist()
    assert set(labels) <= {"bad", "other"}
    assert "other" in labels


def test_an_old_name_does_not_get_another_meaning(opened):
    path, _, _ = opened
    change_labels(path, "mood", {"good": "positive"})
    text = path.read_text()
    for renamed, added in (({"bad": "good"}, ()), ({}, ["good"])):
        with pytest.raises(ConfigError, match="'good' is an old name of 'positive' in mood"):
            change_labels(path, "mood", renamed, added)
    with pytest.raises(ConfigError, match=r"mood has a label 'bad' already; .* umc labels merge"):
        change_labels(path, "mood", {"positive": "bad"}, merges=False)
    assert path.read_text() == text
    assert change_labels(path, "mood", {"positive": "good"}) == ["bad", "good"]  # back again
    run = wait(path)
    assert run.config.tasks["mood"].synonyms == {"positive": "good"}
    labels = run.storage.read_table("rounds/0001/labels.parquet")["label"].to_pylist()
    assert set(labels) <= {"bad", "good"}


def test_what_cannot_be_shown_before_the_next_run_says_so(opened):
    path, run, _ = opened
    change_labels(path, "mood", {"good": "positive"})
    run = Run(load_campaign(path))
    for show in (lambda run: update_status(run.config), write_report, write_release):
        with (
            closing(run.store),
            pytest.raises(StoreError, match=r"models have not learned .*umc run"),
        ):
            show(run)


def test_a_change_that_was_interrupted_is_repeated(opened):
    path, run, _ = opened
    frozen = run.storage.read_bytes("campaign.json")
    change_labels(path, "mood", {"good": "positive"})
    run.storage.write_bytes("campaign.json", frozen)  # as if it had been killed before the end
    with pytest.raises(ConfigError, match=r"tasks.mood.labels is .*use umc labels to rename"):
        finish(path)
    assert change_labels(path, "mood", {"good": "positive"}) == ["bad", "positive"]
    assert len(sheet(wait(path), 2)) == 10


def test_what_cannot_be_changed_is_said(opened):
    path, _, _ = opened
    text = path.read_text()
    with pytest.raises(ConfigError, match="no task moods, the campaign has mood"):
        change_labels(path, "moods", {"good": "positive"})
    with pytest.raises(ConfigError, match="mood has no label 'god', only bad, good"):
        change_labels(path, "mood", {"god": "positive"})
    with pytest.raises(ConfigError, match="two different names"):
        change_labels(path, "mood", {"good": "bad"})
    assert path.read_text() == text
