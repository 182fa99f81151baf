"""The Label Studio bridge for answers that are sets of labels; needs no Ray and no training."""

from contextlib import closing

import pytest
import torch

from tests.pools import write_ensemble
from tests.web.worlds import CLASSES, TOPICS, ask, ids, write_world
from umc_ray.campaign.publish import publish_round
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.form import Form
from umc_ray.tasks.forms import NONE, ChoiceForm

HEAD = {
    "weight": torch.tensor([[[4.0, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 4.0, 0]]]).mT.contiguous(),
    "bias": torch.zeros(1, 3),
}
CALIBRATION = {"scales": [1.0] * 3, "shifts": [0.0, 0.0, -9.0]}


@pytest.fixture
def run(tmp_path):
    run = ask(write_world(tmp_path, (TOPICS,), backend="label_studio"))
    with closing(run.store):
        yield run


@pytest.fixture
def published(run):
    (encoder,) = run.config.tasks["topics"].named_encoders
    ref = write_ensemble(
        run.storage,
        {"mail": (HEAD, CALIBRATION)},
        "models/topics/0001",
        {"thresholds": [0.6] * 3},
        {"mail": encoder},
    )
    publish_round(run.storage, run.config, 1, {"topics": ref})


def name(index):
    return f"tiny/topics/{ids(TOPICS, 2)[index]}"


def test_several_labels_can_be_chosen_and_come_back_as_one_answer(run, fake, studio):
    assert bridge.push(run, studio) == len(ids(TOPICS, 2))
    (project,) = fake.projects
    form = Form.read(project["label_config"])
    assert form.control == ChoiceForm(tuple(CLASSES["topics"]), multiple=True)
    fake.annotate(name(0), ["praise", "billing"])
    fake.annotate(name(1), [])
    fake.annotate(name(2), None)
    fake.annotate(name(3), ["ugly"])
    assert (bridge.pull(run, studio), bridge.pull(run, studio)) == (3, 0)
    answers = {each.sample_id: each.label for each in run.store.answers("tiny")}
    expected = ["billing | praise", NONE, None]
    assert answers == dict(zip(ids(TOPICS, 2)[:3], expected, strict=True))


def test_predictions_are_sets_too(run, published, fake, studio):
    bridge.push(run, studio)
    choices = {}
    for item in fake.items:
        (prediction,) = item["predictions"]
        assert 0 <= prediction["score"] <= 1
        for each in prediction["result"]:
            choices[item["data"]["umc_id"]] = each["value"]["choices"]
    assert [choices[name(i)] for i in (0, 1)] == [["billing"], ["delivery"]]
    hidden = [name(i) for i in range(len(fake.items)) if name(i) not in choices]
    assert hidden == [name(len(fake.items) - 1)]  # the audit sample
