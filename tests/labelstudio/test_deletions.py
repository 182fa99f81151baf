"""Annotations that were deleted in Label Studio; needs no Ray and no training."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from tests.web.worlds import TEXT, ask, write_world
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.pulled import Pulled

FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


@pytest.fixture
def run(tmp_path):
    run = ask(write_world(tmp_path, (TEXT,), backend="label_studio"), votes=2)
    with closing(run.store):
        yield run


def labels_of(run):
    return {(each.sample_id, each.annotator): each.label for each in run.store.answers("tiny")}


def test_a_deleted_annotation_is_taken_back_and_asked_again(run, fake, studio):
    asked = bridge.push(run, studio)
    first, second = (fake.items[i]["data"]["umc_id"] for i in (0, 1))
    annotation = fake.annotate(first, "good", person=1)
    fake.annotate(first, "good", person=2)
    fake.annotate(second, "bad")
    assert (bridge.pull(run, studio), run.store.progress("tiny", 2)) == (3, (1, asked))
    fake.delete(annotation)
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (1, 0)
    assert list(labels_of(run).values()) == ["good", "bad"]
    assert run.store.progress("tiny", 2) == (0, asked)
    fake.annotate(first, "bad", person=1)
    assert (bridge.pull(run, studio), run.store.progress("tiny", 2)) == (1, (1, asked))
    assert sorted(labels_of(run).values()) == ["bad", "bad", "good"]


def test_who_has_another_annotation_of_a_sample_has_that_answer_then(run, fake, studio):
    bridge.push(run, studio)
    first = fake.items[0]["data"]["umc_id"]
    fake.annotate(first, "good", person=1)
    second = fake.annotate(first, "bad", person=1)
    fake.annotate(first, "bad", person=2)
    bridge.pull(run, studio)
    assert list(labels_of(run).values()) == ["bad", "bad"]
    fake.delete(second)
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (1, 0)
    sample_id = int(first.rpartition("/")[2])
    assert labels_of(run) == {
        (sample_id, "label-studio-1"): "good",
        (sample_id, "label-studio-2"): "bad",
    }


def test_an_empty_task_of_a_sample_that_another_task_answers_takes_nothing_back(run, fake, studio):
    bridge.push(run, studio)
    first = fake.items[0]["data"]["umc_id"]
    annotation = fake.annotate(first, "good")
    bridge.pull(run, studio)
    pulled = Pulled.read(run.storage, 1)
    until = pulled.until
    Pulled(until + 60, pulled.tasks).write(run.storage, 1)  # only what is new
    copy = fake.copy_of(first)
    copy["updated_at"] = datetime.fromtimestamp(until + 61, UTC).strftime(FORMAT)
    assert bridge.pull(run, studio) == 0
    assert list(labels_of(run).values()) == ["good"]
    fake.items[0]["annotations"].remove(annotation)
    copy["updated_at"] = datetime.fromtimestamp(until + 62, UTC).strftime(FORMAT)
    assert bridge.pull(run, studio) == 1
    assert labels_of(run) == {}


def test_the_answer_of_a_deleted_task_is_taken_back_even_if_others_were_added(run, fake, studio):
    asked = bridge.push(run, studio)
    first, second = (fake.items[i]["data"]["umc_id"] for i in (0, 1))
    fake.annotate(first, "good")
    fake.annotate(second, "bad")
    assert bridge.pull(run, studio) == 2
    del fake.items[0]
    assert bridge.push(run, studio) == 1  # it has a vote to give, so it is there again
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (1, 0)
    assert list(labels_of(run).values()) == ["bad"]
    assert run.store.progress("tiny", 2) == (0, asked)


def test_tasks_of_closed_rounds_can_be_deleted(run, fake, studio):
    bridge.push(run, studio)
    fake.annotate(fake.items[0]["data"]["umc_id"], "good")
    assert bridge.pull(run, studio) == 1
    run.store.close_round("tiny", 2)
    del fake.items[0]
    assert bridge.pull(run, studio) == 0
    assert list(labels_of(run).values()) == ["good"]


def test_answers_of_an_older_project_stay(run, fake, studio):
    bridge.push(run, studio)
    fake.annotate(fake.items[0]["data"]["umc_id"], "good")
    bridge.pull(run, studio)
    fake.projects[0]["title"] = "as it was"
    bridge.push(run, studio)  # makes another project
    run.store.raise_votes(run.store.questions("tiny", 2), 3)
    bridge.push(run, studio)
    assert bridge.pull(run, studio) == 0
    assert list(labels_of(run).values()) == ["good"]
