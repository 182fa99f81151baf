"""Labels that the sources came with, where people answer: they train, and are never asked for."""

import csv
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests import tiny
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.report.summary import result_lines

pytestmark = pytest.mark.ray

GIVEN = 45
"""Of the 120 rows."""


def campaign(folder):
    """A campaign on one table, in which some rows have a label and one has a wrong one."""
    values = tiny.campaign(folder, budget={"labels": 20, "per_round": 10})
    rows = tiny.texts(120, seed=3)
    truth = {row["text"]: row["label"] for row in rows}
    known = [{**row, "label": row["label"] if i < GIVEN else ""} for i, row in enumerate(rows)]
    known[-1]["label"] = "unheard of"
    tiny.write_csv(folder / "posts.csv", known)
    del values["tasks"]["mood"]["domains"]["reviews"]
    values["annotation"] = {"backend": "sheet"}
    return tiny.write_campaign(folder, values), truth


def answer(run, number, truth):
    """Fill in the sheet of a round; returns the texts that were asked."""
    path = run.storage.path(f"rounds/{number:04d}/sheet.csv")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = truth[row["sample"]]
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [row["sample"] for row in rows]


def test_given_labels_train_from_the_start_and_are_never_asked_for(ray_cluster, tmp_path):
    path, truth = campaign(tmp_path)
    run = Run(load_campaign(path))
    given = set(list(truth)[:GIVEN])
    with closing(run.store):
        asked = []
        for number in (1, 2):
            with pytest.raises(AwaitingAnnotations):
                run_campaign(run)
            asked += answer(run, number, truth)
        assert run_campaign(run).rounds == 2
        reasons = run.storage.read_table("rounds/0001/batch.parquet")["why"].to_pylist()
        assert all("points apart" in why for why in reasons[1:])  # by a model, after an audit
        assert (len(asked), given & set(asked)) == (20, set())
        check_history(History.of(run))
        check_release(run, truth, given | set(asked))


def test_people_check_a_share_of_the_given_labels_and_their_answer_counts(ray_cluster, tmp_path):
    path, truth = campaign(tmp_path)
    values = yaml.safe_load(path.read_text())
    values["annotation"]["verify"] = 0.1
    run = Run(load_campaign(tiny.write_campaign(tmp_path, values)))
    given = set(list(truth)[:GIVEN])
    with closing(run.store):
        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        asked = answer(run, 1, {text: "bad" if text in given else truth[text] for text in truth})
        checked = given & set(asked)
        questions = run.store.questions("tiny", 1)
        assert [q.hide_prediction for q in questions if "is being checked" in q.why] == [
            True
        ] * len(checked)
        assert len(asked) == 10
        assert 2 <= len(checked) <= 5  # half of the batch at most
        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        wrong = sum(truth[text] == "good" for text in checked)
        (line,) = (line for line in result_lines(run) if "that people checked" in line)
        assert line.startswith(f"{wrong} of {len(checked)} given labels that people checked are")
        rows = pq.read_table(f"{write_release(run)}/data/mood/posts.parquet").to_pylist()
    released = {row["text"]: (row["label"], row["round"]) for row in rows}
    assert len(rows) == len(released) == GIVEN + 10 - len(checked)
    for text in given:
        assert released[text] == (("bad", 1) if text in checked else (truth[text], 0))


def check_history(history):
    labels_and_cost = [(each.labels, each.cost) for each in history.metrics]
    assert labels_and_cost == [(GIVEN + 10, 10), (GIVEN + 20, 20)]
    assert history.given == GIVEN
    audited = history.metrics[-1].domains["mood/posts"].audit.n
    assert audited == len(history.audit_ids(DomainKey("mood", "posts")))
    report = Path(write_report(history.run)).read_text()
    assert f"{GIVEN} of them came with the sources" in report


def check_release(run, truth, labeled):
    rows = pq.read_table(f"{write_release(run)}/data/mood/posts.parquet").to_pylist()
    assert [row["text"] for row in rows] == [text for text in truth if text in labeled]
    assert [row["label"] for row in rows] == [truth[row["text"]] for row in rows]
    free = [row for row in rows if row["round"] == 0]
    assert len(free) == GIVEN
    assert {(row["votes"], row["cost"]) for row in free} == {(0, 0.0)}
