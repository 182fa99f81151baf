"""The Label Studio bridge, against an in-memory fake."""

from datetime import timedelta
from pathlib import Path

import pytest

from umc_ray.annotation.ratings import ratings
from umc_ray.annotation.store import Payload, Question
from umc_ray.campaign.answer_store import make_store
from umc_ray.campaign.campaign import publish
from umc_ray.campaign.publish import read_published
from umc_ray.diversity.generators.generator import Generated
from umc_ray.diversity.synthetic import Checked, Origin, write_part
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.form import Form
from umc_ray.records import DomainKey, Made

pytestmark = pytest.mark.ray  # the campaign fixture needs Ray

ENDPOINT, TOKEN = "http://127.0.0.1:8000/", "s" * 20


@pytest.fixture
def run(campaign):
    """A campaign whose second round is submitted but not answered."""
    run = campaign.run
    for path in Path(run.storage.root).glob("labels.db*"):
        path.unlink()
    make_store(run.config).close()
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


def order(fake, version):
    """Return the names of items in Label Studio's order: by the score of a model version."""
    scores = {
        each["data"]["umc_id"]: prediction["score"]
        for each in fake.items
        for prediction in each["predictions"]
        if prediction["model_version"] == version
    }
    assert all(0 <= score <= 1 for score in scores.values())
    return sorted(scores, key=scores.get)


def test_pushed_questions_are_ordered_by_uncertainty(run, fake, studio):
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


def test_the_prediction_for_a_synthetic_sample_is_the_label_that_it_was_made_for(run, fake, studio):
    sample = Generated("a good word", "bad", exemplars=(), prompt="", seed=0)
    domain_key = DomainKey("mood", "posts")
    part = write_part(
        *(run.storage, domain_key, "a", Origin("writer", "v1"), [Checked("writer/1", sample)], [])
    )
    (sample_id,) = run.storage.read_table(part.key("pool"))["sample_id"].to_pylist()
    payload = Payload(predicted="bad", made=Made("writer", "bad"))
    why = "synthetic, made by writer"
    run.store.submit([Question("tiny", 2, "mood", "posts", sample_id, why=why, payload=payload)])
    assert bridge.push(run, studio) == 31
    (item,) = (i for i in fake.items if i["data"]["umc_id"] == f"tiny/mood/{sample_id}")
    assert (item["data"]["text"], item["data"]["umc_why"]) == ("a good word", why)
    (prediction,) = item["predictions"]
    assert prediction["result"][0]["value"] == {"choices": ["bad"]}
    rating = {"from_name": "quality", "type": "rating", "value": {"rating": 4}}
    for each in (item, fake.items[0]):  # only the first one is synthetic
        fake.annotate(each["data"]["umc_id"], "bad")["result"].append(rating)
    assert bridge.pull(run, studio) == 2
    assert bridge.pull(run, studio) == 0
    ((key, score),) = ratings(run.store, "tiny").items()
    assert (key, score) == ((("tiny", "mood", sample_id), "label-studio-1"), 4)


def test_audit_samples_show_neither_reason_nor_prediction(run, fake, studio):
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


def test_an_interrupted_push_is_completed(run, fake, studio):
    bridge.push(run, studio)
    del fake.items[20:]
    fake.items[3]["predictions"] = []
    assert bridge.push(run, studio) == 10
    assert {len(each["predictions"]) for each in fake.items} == {1}
    assert len({each["data"]["umc_id"] for each in fake.items}) == 30


def test_a_new_model_version_replaces_the_old_predictions(run, fake, studio):
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


def test_without_a_published_ensemble_there_are_no_predictions(run, fake, studio):
    Path(run.storage.path("published.json")).unlink()
    assert bridge.push(run, studio) == 30
    assert {len(each["predictions"]) for each in fake.items} == {0}
    bridge.connect(run, studio, ENDPOINT, TOKEN)


def test_answers_skips_and_times_are_pulled_once(run, fake, studio):
    bridge.push(run, studio)
    first, second = (fake.items[i]["data"]["umc_id"] for i in (0, 1))
    fake.annotate(first, "good", person=1)
    fake.annotate(first, None, person=2)
    fake.annotate(second, "bad", person={"id": 2, "email": "x@example.com"})
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (3, 0)
    answers = {
        (f"{each.campaign}/{each.task}/{each.sample_id}", each.annotator): each
        for each in run.store.answers("tiny")
    }
    labels = {key: (each.label, each.seconds) for key, each in answers.items()}
    assert labels == {
        (first, "label-studio-1"): ("good", 3.25),
        (first, "label-studio-2"): (None, 3.25),
        (second, "label-studio-2"): ("bad", 3.25),
    }
    assert answers[first, "label-studio-2"].reason == "skipped in Label Studio"
    assert run.store.progress("tiny", 2) == (1, 30)


def test_a_changed_answer_replaces_the_first(run, fake, studio):
    bridge.push(run, studio)
    item = fake.items[0]
    annotation = fake.annotate(item["data"]["umc_id"], "good")
    bridge.pull(run, studio)
    annotation["result"][0]["value"]["choices"] = ["bad"]
    annotation["updated_at"] = fake.touch(item)
    assert bridge.pull(run, studio) == 1
    assert [each.label for each in run.store.answers("tiny")] == ["bad"]


@pytest.mark.parametrize("minutes", [5, -5])
def test_answers_are_found_by_label_studios_own_clock(run, fake, studio, minutes):
    fake.behind = timedelta(minutes=minutes)
    bridge.push(run, studio)
    for number, item in enumerate(fake.items[:3], start=1):
        fake.annotate(item["data"]["umc_id"], "good")
        assert bridge.pull(run, studio) == 1
        assert len(run.store.answers("tiny", 2)) == number


def test_an_annotation_of_nobody_does_not_affect_others(run, fake, studio):
    bridge.push(run, studio)
    names = [item["data"]["umc_id"] for item in fake.items[:2]]
    first = fake.annotate(names[0], "good")
    bridge.pull(run, studio)
    first["completed_by"] = None  # the person was deleted
    fake.touch(fake.items[0])
    fake.annotate(names[1], "bad")
    assert bridge.pull(run, studio) == 1


def test_an_invalid_answer_does_not_affect_others(run, fake, studio):
    bridge.push(run, studio)
    fake.annotate(fake.items[0]["data"]["umc_id"], "ugly")
    fake.annotate(fake.items[1]["data"]["umc_id"], "good")
    fake.items[2]["data"].pop("umc_id")  # somebody's own item
    assert bridge.pull(run, studio) == 1


def test_connecting_twice_registers_once_and_keeps_only_the_webhook_with_a_secret(
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


def test_a_notification_triggers_a_pull(run, fake, studio):
    bridge.push(run, studio)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            fake.annotate(fake.items[0]["data"]["umc_id"], "good")
            run.storage.write_json("labelstudio/changed/1.json", {})

    pulled = list(bridge.sync(run, studio, lambda: len(waited) == 6, wait))
    assert pulled == [0, 1]  # at the start and after the notification, not six times
