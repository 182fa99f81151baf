"""What goes to Label Studio and comes back, against one in memory."""

from pathlib import Path

import pytest

from tests.labelstudio.fake import KEY, FakeStudio
from umc_ray.annotation.store import Question
from umc_ray.campaign.campaign import publish
from umc_ray.campaign.publish import read_published
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.labelstudio.form import Form

pytestmark = pytest.mark.ray  # of the campaign that is copied

ENDPOINT, TOKEN = "http://127.0.0.1:8000/", "s" * 20


@pytest.fixture
def run(campaign):
    """A campaign whose second round is asked and not answered."""
    run = campaign.run
    for path in Path(run.storage.root).glob("labels.db*"):
        path.unlink()
    batch = run.storage.read_table("rounds/0002/batch.parquet").to_pylist()
    run.store.submit(
        [
            Question(
                campaign="tiny",
                round=2,
                task=row["task"],
                domain=row["domain"],
                sample_id=row["sample_id"],
                votes=2,
                priority=-float(i),
                why=row["why"],
                hide_prediction=row["audit"],
            )
            for i, row in enumerate(batch)
        ]
    )
    yield run
    run.store.close()


@pytest.fixture
def fake():
    return FakeStudio()


@pytest.fixture
def studio(fake):
    with LabelStudio("http://fake", KEY, fake.transport) as studio:
        yield studio


def order(fake, version):
    """Items as Label Studio asks them: by the score of the project's version."""
    scores = {
        each["data"]["umc_id"]: prediction["score"]
        for each in fake.items
        for prediction in each["predictions"]
        if prediction["model_version"] == version
    }
    assert all(0 <= score <= 1 for score in scores.values())
    return sorted(scores, key=scores.get)


def test_questions_become_items_with_a_place_in_the_order_of_uncertainty(run, fake, studio):
    assert bridge.push(run, studio) == 30
    (project,) = fake.projects
    assert (project["title"], project["sampling"]) == ("tiny: mood", "Uncertainty sampling")
    form = Form.read(project["label_config"])
    assert form.labels == ("bad", "good")
    version = read_published(run.storage).version
    assert project["model_version"] == version
    unsure = {
        row["sample_id"]: row["margin"]
        for part in run.parts
        for row in run.storage.read_table(part.key("rounds/0002/scores")).to_pylist()
    }
    margins = [unsure[int(umc_id.split("/")[2])] for umc_id in order(fake, version)]
    assert len(margins) == 30
    assert margins == pytest.approx(sorted(margins), abs=1e-3)


def test_an_item_says_why_and_what_the_model_thinks_but_not_of_audits(run, fake, studio):
    bridge.push(run, studio)
    questions = {bridge._name(each): each for each in run.store.questions("tiny")}
    assert {each.hide_prediction for each in questions.values()} == {True, False}
    for item in fake.items:
        question = questions[item["data"]["umc_id"]]
        (prediction,) = item["predictions"]
        assert item["data"]["text"]
        assert (
            bool(item["data"]["umc_why"])
            == bool(prediction["result"])
            == (not question.hide_prediction)
        )


def test_pushing_again_changes_nothing(run, fake, studio):
    assert (bridge.push(run, studio), bridge.push(run, studio)) == (30, 0)
    assert len(fake.items) == 30
    assert {len(each["predictions"]) for each in fake.items} == {1}


def test_a_push_that_was_cut_off_is_completed(run, fake, studio):
    bridge.push(run, studio)
    del fake.items[20:]
    fake.items[3]["predictions"] = []
    assert bridge.push(run, studio) == 10
    assert {len(each["predictions"]) for each in fake.items} == {1}
    assert len({each["data"]["umc_id"] for each in fake.items}) == 30


def test_another_version_brings_another_order_and_takes_the_old_one_away(run, fake, studio):
    bridge.push(run, studio)
    before = order(fake, read_published(run.storage).version)
    publish(run, 1)
    version = read_published(run.storage).version
    bridge.push(run, studio)
    assert fake.projects[0]["model_version"] == version
    assert {p["model_version"] for each in fake.items for p in each["predictions"]} == {version}
    after = order(fake, version)
    assert sorted(after) == sorted(before)
    assert after != before


def test_before_the_first_round_is_learned_from_there_are_no_predictions(run, fake, studio):
    Path(run.storage.path("published.json")).unlink()
    assert bridge.push(run, studio) == 30
    assert {len(each["predictions"]) for each in fake.items} == {0}
    bridge.connect(run, studio, ENDPOINT, TOKEN)


def test_answers_skips_and_times_come_back_once(run, fake, studio):
    bridge.push(run, studio)
    first, second = (fake.items[i]["data"]["umc_id"] for i in (0, 1))
    fake.annotate(first, "good", person=1)
    fake.annotate(first, None, person=2)
    fake.annotate(second, "bad", person={"id": 2, "email": "x@example.com"})
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (3, 0)
    found = {
        (f"{each.campaign}/{each.task}/{each.sample_id}", each.annotator): each
        for each in run.store.answers("tiny")
    }
    said = {key: (each.label, each.seconds) for key, each in found.items()}
    assert said == {
        (first, "label-studio-1"): ("good", 3.25),
        (first, "label-studio-2"): (None, 3.25),
        (second, "label-studio-2"): ("bad", 3.25),
    }
    assert found[first, "label-studio-2"].reason == "skipped in Label Studio"
    assert run.store.progress("tiny", 2) == (1, 30)


def test_an_answer_that_is_changed_replaces_the_first(run, fake, studio):
    bridge.push(run, studio)
    item = fake.items[0]
    annotation = fake.annotate(item["data"]["umc_id"], "good")
    bridge.pull(run, studio)
    annotation["result"][0]["value"]["choices"] = ["bad"]
    annotation["updated_at"] = fake.touch(item)
    assert bridge.pull(run, studio) == 1
    assert [each.label for each in run.store.answers("tiny")] == ["bad"]


def test_an_answer_that_is_none_of_the_choices_spoils_no_other(run, fake, studio):
    bridge.push(run, studio)
    fake.annotate(fake.items[0]["data"]["umc_id"], "ugly")
    fake.annotate(fake.items[1]["data"]["umc_id"], "good")
    fake.items[2]["data"].pop("umc_id")  # somebody's own item
    assert bridge.pull(run, studio) == 1


def test_the_endpoint_is_registered_once_and_only_the_webhook_with_a_secret_stays(
    run, fake, studio
):
    bridge.push(run, studio)
    version = fake.projects[0]["model_version"]
    for _ in range(2):
        bridge.connect(run, studio, ENDPOINT, TOKEN)
    (backend,) = fake.ml
    assert backend["url"] == "http://127.0.0.1:8000/labelstudio/mood"
    assert (backend["auth_method"], backend["basic_auth_pass"]) == ("BASIC_AUTH", TOKEN)
    assert fake.projects[0]["model_version"] == version
    active = [each for each in fake.hooks if each["is_active"]]
    assert [each["headers"] for each in active] == [{"X-Umc-Secret": TOKEN}]
    assert len(fake.hooks) == 2


def test_a_note_is_a_reason_to_look_at_once(run, fake, studio):
    bridge.push(run, studio)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            fake.annotate(fake.items[0]["data"]["umc_id"], "good")
            run.storage.write_json("labelstudio/changed/1.json", {})

    found = list(bridge.sync(run, studio, lambda: len(waited) == 6, wait))
    assert found == [0, 1]  # at the start, and after the note; not six times
