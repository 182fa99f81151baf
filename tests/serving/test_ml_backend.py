"""Label Studio's ML backend protocol, with request bodies recorded from Label Studio 1.23.2."""

import base64

import pytest

from tests.serving.conftest import ADMIN, SCORE, local_client, picture
from umc_ray.campaign.publish import read_published
from umc_ray.labelstudio.form import form_xml
from umc_ray.labelstudio.notify import take_notifications
from umc_ray.serving.settings import ServingConfig
from umc_ray.tasks.forms import ChoiceForm

pytestmark = pytest.mark.ray

PROJECT = "2.1795319432"
FORM = form_xml("text", ChoiceForm(("bad", "good")))
ITEM = {"meta": {}, "annotations": [], "predictions": [], "is_labeled": False, "overlap": 1}

JSON = {"content-type": "application/json"}


@pytest.fixture
def client(campaign):
    with local_client(ServingConfig(campaign=campaign.path, max_samples=3)) as client:
        client.campaign = campaign
        yield client


def predict(client, *values, path="/predict", form=FORM, key="text"):
    tasks = [
        {"id": i, "data": {key: value, "umc_id": f"n{i}"}, "project": 2, "inner_id": i, **ITEM}
        for i, value in enumerate(values)
    ]
    params = {"login": None, "password": None, "context": None}
    message = {"tasks": tasks, "project": PROJECT, "label_config": form, "params": params}
    return client.post(path, json=message)


def test_a_connection_is_checked_and_set_up(client):
    version = read_published(client.campaign.run.storage).version
    assert client.get("/health").json()["status"] == "UP"
    setup = {
        "project": PROJECT,
        "schema": FORM,
        "hostname": "http://localhost:18080",
        "access_token": "0" * 40,
        "extra_params": None,
    }
    assert client.post("/setup", json=setup).json() == {"model_version": version}
    assert client.get("/labelstudio/mood/versions").json() == {"versions": [version]}


@pytest.mark.parametrize("path", ["/predict", "/labelstudio/mood/predict"])
def test_each_item_has_a_result_in_order_even_if_it_is_invalid(client, path):
    texts = ["good great", "", "good sad", None, {"x": 1}, "bad poor sad", "y" * 100_001]
    answer = predict(client, *texts, path=path).json()["results"]
    labels = [
        each["result"][0]["value"]["choices"][0] if each["result"] else None for each in answer
    ]
    assert [labels[0], labels[5]] == ["good", "bad"]
    assert [bool(label) for label in labels] == [True, False, True, False, False, True, False]
    assert {each["model_version"] for each in answer} == {
        read_published(client.campaign.run.storage).version
    }
    scores = [each["score"] for each in answer]
    assert scores[1] == scores[3] == 0  # invalid items come first, so that people see them
    assert 0 < scores[2] < min(scores[0], scores[5]) <= 1


def test_the_score_is_one_minus_the_urgency(client):
    (found,) = predict(client, "good sad word1").json()["results"]
    answer = client.post("/v1/score", json={"samples": [{"text": "good sad word1"}]}).json()
    assert found["score"] == pytest.approx(answer["results"][0]["margin"], abs=1e-5)


def test_without_specialists_there_is_no_prediction(pictures):
    data = f"data:image/png;base64,{picture(8, 8)}"
    form = form_xml("image", ChoiceForm(("cat", "dog")))
    assert predict(pictures, data, form=form, key="image").status_code == 503


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/predict", "[]"),
        ("/predict", "{}"),
        ("/predict", "[" * 90_000),
        ("/predict", '{"tasks": {}, "label_config": "<View/>"}'),
        ("/predict", '{"tasks": [], "label_config": "<View/>"}'),
        ("/labelstudio/other/predict", None),
        ("/webhook", "not JSON"),
        ("/webhook", "{}"),
        ("/webhook", '{"project": {"id": "../../x"}}'),
        ("/train", '{"project": []}'),
    ],
)
def test_malformed_messages_are_refused(client, path, message):
    if message is None:
        assert predict(client, "good", path=path).status_code == 422
    else:
        assert client.post(path, content=message, headers=JSON).status_code == 422


def test_a_form_for_other_labels_is_refused(client):
    assert (
        predict(client, "good", form=form_xml("text", ChoiceForm(("yes", "no")))).status_code == 422
    )
    assert (
        predict(client, "x", form=form_xml("image", ChoiceForm(("bad", "good")))).status_code == 422
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/webhook",
            {
                "action": "ANNOTATION_CREATED",
                "annotation": {"id": 3, "result": []},
                "project": {"id": 2, "token": "s3cret", "task_data_password": "s3cret"},
                "task": {"id": 1},
            },
        ),
        ("/labelstudio/mood/webhook", {"action": "ANNOTATIONS_DELETED", "project": {"id": 2}}),
        ("/webhook", {"action": "START_TRAINING", "project": {"id": 2}}),
        ("/train", {"event": "START_TRAINING", "project": "2.17"}),
    ],
)
def test_a_webhook_records_a_change_but_none_of_its_content(client, path, message):
    storage = client.campaign.run.storage
    assert not take_notifications(storage)
    assert client.post(path, json=message).status_code == 200
    assert client.post(path, json=message).status_code == 200
    (key,) = storage.keys("labelstudio")
    assert storage.read_json(key) == {}
    assert take_notifications(storage)
    assert not take_notifications(storage)


def credentials(token):
    basic = base64.b64encode(f"umc:{token}".encode()).decode()
    return [{"authorization": f"Basic {basic}"}, {"x-umc-secret": token}]


@pytest.mark.parametrize("path", ["/health", "/versions"])
def test_a_token_may_come_as_a_password_or_a_secret(guarded, path):
    for token in (SCORE, ADMIN):
        for headers in credentials(token):
            assert guarded.get(path, headers=headers).status_code in (200, 503)
    for headers in [*credentials("x" * 20), *credentials(""), {"authorization": "Basic %%%"}]:
        assert guarded.get(path, headers=headers).status_code == 401
