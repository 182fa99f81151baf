import time

import pyarrow as pa
import pytest

from tests.tiny import campaign, write_campaign
from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.heartbeat import KEY
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.console import at_work


@pytest.fixture
def run(tmp_path):
    return Run(load_campaign(write_campaign(tmp_path, campaign(tmp_path))))


def ask(run, answered, asked):
    """Put the first round where it waits for people."""
    run.storage.write_table("rounds/0001/batch.parquet", pa.table({"sample_id": range(asked)}))
    about = {"campaign": "tiny", "task": "mood", "domain": "posts", "round": 1}
    run.store.submit([Question(sample_id=i, **about) for i in range(asked)])
    answers = [Answer(sample_id=i, annotator="a", label="good", **about) for i in range(answered)]
    run.store.record(answers, [f"key{i}" for i in range(answered)])


def note(run, seen_ago):
    at = time.time() - seen_ago
    run.storage.write_json(KEY, {"stage": "rounds/0001/labels", "since": at - 200, "seen": at})


def test_a_campaign_that_was_not_begun_is_left_so(run, tmp_path):
    assert at_work(run) == []
    assert not (tmp_path / "runs").exists()


def test_status_counts_the_questions_that_people_answered(run):
    ask(run, answered=3, asked=8)
    assert at_work(run) == ["round 1 waits for people: 3 of 8 questions answered"]


def test_status_names_the_stage_at_work_and_since_when(run):
    ask(run, answered=0, asked=8)
    note(run, seen_ago=1)
    assert len(at_work(run)) == 2
    assert at_work(run)[1].startswith("rounds/0001/labels runs since 20")
    assert ", for 0:03:2" in at_work(run)[1]


def test_status_tells_a_stage_at_work_from_one_whose_process_is_gone(run):
    note(run, seen_ago=3600)
    (line,) = at_work(run)
    assert line.startswith("rounds/0001/labels gave no sign of life since 20")


def test_people_are_no_longer_waited_for_once_their_labels_are_stored(run):
    ask(run, answered=8, asked=8)
    run.storage.write_table("rounds/0001/labels.parquet", pa.table({"sample_id": range(8)}))
    assert at_work(run) == []
