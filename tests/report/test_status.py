import errno
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.finished import build_run
from tests.tiny import campaign, write_campaign
from umc_ray import storage
from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.heartbeat import KEY
from umc_ray.campaign.run import Run
from umc_ray.campaign.stages import NullListener
from umc_ray.config.loading import load_campaign
from umc_ray.report.status import Status, activity_lines, read_status, status_lines
from umc_ray.report.summary import StatusKeeper, update_status


@pytest.fixture
def run(tmp_path):
    return Run(load_campaign(write_campaign(tmp_path, campaign(tmp_path))))


def submit_questions(run, answered, questions):
    """Put the first round into the state in which it waits for people."""
    about = {"campaign": "tiny", "task": "mood", "domain": "posts", "round": 1}
    run.store.submit([Question(sample_id=i, **about) for i in range(questions)])
    run.storage.write_table("rounds/0001/batch.parquet", pa.table({"sample_id": range(questions)}))
    answers = [Answer(sample_id=i, annotator="a", label="good", **about) for i in range(answered)]
    run.store.record(answers, [f"key{i}" for i in range(answered)])


def write_heartbeat(run, seen_ago):
    seen = time.time() - seen_ago
    stage = {"stage": "rounds/0001/labels", "since": seen - 200, "seen": seen}
    run.storage.write_json(KEY, stage)


def lines_of(run):
    return activity_lines(run.config, run.finished_rounds)


def test_a_stored_status_is_read_until_something_changes(tmp_path):
    run = build_run(str(tmp_path), rounds=1)
    assert read_status(run.config) is None
    status = update_status(run.config)
    assert set(status.rows) == {str(key) for key in run.config.domains()}
    assert read_status(run.config) == status
    run.storage.write_json("running/stage.json", {})  # no result
    assert read_status(run.config) == status
    metrics = run.storage.read_bytes("rounds/0001/metrics.json")
    run.storage.write_bytes("rounds/0001/metrics.json", metrics)
    assert read_status(run.config) is None
    assert update_status(run.config).rows == status.rows
    run.storage.write_json("published.json", {})  # says nothing that a status does
    run.storage.write_json("rounds/0002/allocation.json", {})
    assert read_status(run.config) is not None
    run.storage.write_json("rounds/0002/bandit.json", {})
    assert read_status(run.config) is None


def test_a_change_of_the_campaign_file_leaves_the_stored_status_as_it_is(tmp_path):
    run = build_run(str(tmp_path), rounds=1)
    status = update_status(run.config)
    mood = run.config.tasks["mood"]
    fewer = mood.model_copy(update={"domains": {"posts": mood.domains["posts"]}})
    for changes in (
        {"seed": 5},
        {"budget": run.config.budget.model_copy(update={"labels": 3})},
        {"tasks": {"mood": fewer}},
    ):
        changed = run.config.model_copy(update=changes)
        assert read_status(changed) == status


def test_what_a_next_round_is_to_do_depends_on_whether_there_is_one(tmp_path):
    config = build_run(str(tmp_path), rounds=1).config
    auto = config.model_copy(update={"refine": config.refine.model_copy(update={"share": "auto"})})
    assert update_status(config) != update_status(auto)
    ended = auto.model_copy(update={"stop": auto.stop.model_copy(update={"labels": 1})})
    assert read_status(auto) is not None
    assert read_status(ended) is None


def test_a_run_stores_the_status_of_each_round_when_the_next_begins(tmp_path):
    run = build_run(str(tmp_path), rounds=1)
    keeper = StatusKeeper(run.config, NullListener())
    keeper.begin("rounds/0001/training", None)
    keeper.end("rounds/0001/training", 1.0)
    keeper.begin("rounds/0001/bandit", None)
    keeper.end("rounds/0001/bandit", 1.0)
    assert read_status(run.config) is None
    keeper.begin("rounds/0002/allocation", None)
    assert read_status(run.config) == update_status(run.config)


def test_the_status_of_a_new_campaign_creates_no_files(run, tmp_path):
    assert lines_of(run) == []
    assert update_status(run.config).rows == read_status(run.config).rows == {}
    assert not (tmp_path / "runs").exists()


def test_status_counts_the_answered_questions(run):
    submit_questions(run, answered=3, questions=8)
    assert lines_of(run) == ["round 1 waits for people: 3 of 8 questions answered"]


def test_notes_of_ingest_are_said_of_what_has_been_read(run):
    nothing = Status("", 0, {}, ())
    assert status_lines(run.config, nothing) == []
    counts = dict.fromkeys(("rows", "duplicates", "conflicts", "leaks", "bad", "labeled"), 0)
    manifest = {**counts, "parts": [], "reasons": {}, "sources": {}, "fingerprint": "x"}
    notes = [{"what": "transparent: laid on white", "count": 3}]
    run.storage.write_json("pool/pool/mood/posts/manifest.json", {**manifest, "notes": notes})
    said = ["mood/posts pool: 3 x transparent: laid on white"]
    assert status_lines(run.config, nothing) == said


def test_status_says_which_files_are_gone_or_cut(run):
    run.storage.write_bytes("rounds/0001/gaps.json", b"{}")
    run.storage.seal(["rounds/0001/gaps.json"])
    assert activity_lines(run.config, 1) == []
    Path(run.storage.path("rounds/0001/gaps.json")).unlink()
    (line,) = activity_lines(run.config, 1)
    assert "rounds/0001/gaps.json (it is missing)" in line
    assert "umc repair" in line


def test_a_store_that_is_gone_is_said_and_not_made(run):
    submit_questions(run, answered=1, questions=3)
    run.store.close()
    path = Path(run.storage.path("labels.db"))
    path.unlink()
    assert "labels.db is missing, and people were asked" in lines_of(run)[0]
    assert not path.exists()


def test_status_names_the_running_stage_and_when_it_started(run):
    submit_questions(run, answered=0, questions=8)
    write_heartbeat(run, seen_ago=1)
    assert len(lines_of(run)) == 2
    assert lines_of(run)[1].startswith("rounds/0001/labels: running since 20")
    assert ", for 0:03:2" in lines_of(run)[1]


def test_status_says_when_the_process_of_a_stage_is_gone(run):
    write_heartbeat(run, seen_ago=3600)
    (line,) = lines_of(run)
    assert line.startswith("rounds/0001/labels: no heartbeat since 20")


def test_status_stops_waiting_for_people_once_their_labels_are_stored(run):
    submit_questions(run, answered=8, questions=8)
    run.storage.write_table("rounds/0001/labels.parquet", pa.table({"sample_id": range(8)}))
    run.storage.seal(["rounds/0001/labels.parquet"])
    assert lines_of(run) == []


def test_a_status_that_cannot_be_stored_is_shown_all_the_same(tmp_path, monkeypatch, caplog):
    finished = build_run(str(tmp_path))
    before = update_status(finished.config)

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(storage, "write_file", refuse)
    assert update_status(finished.config) == before
    assert "Read-only file system" in caplog.text
