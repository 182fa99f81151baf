"""A task with several labels per sample and two encoders: the endpoint and `umc score`.

Suffixes: N samples, C labels.
"""

import numpy as np
import pyarrow as pa
import pytest

from tests import tiny
from tests.serving.conftest import local_client
from tests.serving.topics import LABELS, TEXTS, THRESHOLDS, publish_topics, write_topics
from umc_ray.bulk_scoring import score_by_endpoint, score_new
from umc_ray.campaign.publish import load_published, read_published
from umc_ray.campaign.run import Run
from umc_ray.client import Client
from umc_ray.config.loading import load_campaign
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import DataError, StoreError
from umc_ray.labelstudio.form import form_xml
from umc_ray.methods.certificates import Certificate
from umc_ray.records import DomainKey
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.settings import ServingConfig
from umc_ray.storage import Storage
from umc_ray.tasks.forms import ChoiceForm

MAIL = DomainKey("topics", "mail")
BODY = {"samples": [{"text": text} for text in TEXTS]}


@pytest.fixture
def path(tmp_path):
    return write_topics(tmp_path)


@pytest.fixture
def run(path):
    return Run(load_campaign(path))


@pytest.fixture
def client(path):
    with local_client(ServingConfig(campaign=path)) as client:
        yield client


def mean_probabilities(run):
    """What the published ensemble gives for TEXTS, encoded by hand."""
    task = run.config.tasks["topics"]
    rows = {name: load_encoder(each).encode(TEXTS) for name, each in task.named_encoders.items()}
    ensemble = load_published(run.storage, run.config, read_published(run.storage)).ensembles
    return ensemble["topics"].measures(rows).mean_NC.numpy()


def expected_labels(mean_NC):
    picked_NC = mean_NC >= THRESHOLDS
    return [[label for label, yes in zip(LABELS, row, strict=True) if yes] for row in picked_NC]


def certainty(mean_NC):
    return np.where(mean_NC >= THRESHOLDS, mean_NC, 1 - mean_NC).prod(1)


def test_the_list_of_labels_and_the_probability_of_each_are_returned(run, client):
    mean_NC = mean_probabilities(run)
    results = client.post("/v1/score", json=BODY).json()["results"]
    found = [each["label"] for each in results]
    assert found == expected_labels(mean_NC)
    assert {len(labels) for labels in found} > {1}  # several, or none
    for each, mean_C in zip(results, mean_NC, strict=True):
        assert each["probabilities"] == pytest.approx(dict(zip(LABELS, mean_C, strict=True)))
    np.testing.assert_allclose([e["certainty"] for e in results], certainty(mean_NC), rtol=1e-5)
    measures = run.kinds["topics"].measures_about
    assert all(isinstance(each[name], float) for each in results for name in measures)
    assert results[0]["columns"] is results[0]["specialists"] is None


def test_specialists_have_a_probability_of_each_label(client):
    results = client.post("/v1/score", json={**BODY, "specialists": True}).json()["results"]
    for each in results:
        assert list(each["specialists"]) == ["first", "second", "both"]
        for label in LABELS:
            mean = np.mean([probs[label] for probs in each["specialists"].values()])
            assert mean == pytest.approx(each["probabilities"][label], abs=1e-6)


def test_the_certificate_is_held_against_the_certainty_of_the_whole_answer(path, run):
    certainty_N = certainty(mean_probabilities(run))
    threshold = float(np.median(certainty_N)) - 1e-6
    publish_topics(run, Certificate(threshold, bound=0.04, audits=200, accepted=150, errors=1))
    with local_client(ServingConfig(campaign=path)) as client:
        results = client.post("/v1/score", json=BODY).json()["results"]
    routes = [each["route"] for each in results]
    assert routes == ["auto" if each >= threshold else "human" for each in certainty_N]
    assert set(routes) == {"auto", "human"}


def test_models_lists_kind_labels_and_encoders(run, client):
    models = client.get("/v1/models").json()["tasks"]["topics"]
    assert (models["kind"], models["labels"]) == ("multi_label", list(LABELS))
    assert models["encoders"] == read_published(run.storage).ensembles["topics"].encoders
    assert list(models["encoders"]) == ["first", "second"]


@pytest.mark.parametrize(
    ("specialists", "used"),
    [(("first", "second", "both"), {"first", "second"}), (("first",), {"first"})],
)
def test_samples_are_encoded_once_by_each_encoder_that_specialists_read(
    path, run, monkeypatch, specialists, used
):
    publish_topics(run, specialists=specialists)
    scorer, calls = Endpoint(ServingConfig(campaign=path)).scorers["topics"], []
    for name, each in scorer.encoders.items():
        encode = each.encode
        monkeypatch.setattr(each, "encode", lambda p, n=name, e=encode: calls.append(n) or e(p))
    scorer.predict([TEXTS[:2], TEXTS[2:]])
    assert sorted(calls) == sorted(used)


def test_label_studio_gets_all_labels_as_choices(client):
    form = form_xml("text", ChoiceForm(tuple(LABELS), multiple=True))
    tasks = [{"id": i, "data": {"text": text}} for i, text in enumerate(TEXTS)]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": form}).json()["results"]
    scores = client.post("/v1/score", json=BODY).json()["results"]
    for pre, score in zip(answer, scores, strict=True):
        (region,) = pre["result"]
        assert region["value"]["choices"] == score["label"]
        assert pre["score"] == pytest.approx(score["margin"], abs=1e-5)


def read(folder):
    storage = Storage(str(folder))
    keys = [key for key in storage.keys("") if key.startswith("part-")]
    return pa.concat_tables([storage.read_table(key) for key in keys])


@pytest.mark.ray
def test_scores_of_new_data_hold_names_and_are_the_same_by_an_endpoint(
    ray_cluster, run, path, client, tmp_path
):
    source = tmp_path / "new.csv"
    tiny.write_csv(source, [{"text": text} for text in TEXTS])
    assert score_new(run, str(source), MAIL, str(tmp_path / "here")).rows == len(TEXTS)
    here, mean_NC = read(tmp_path / "here"), mean_probabilities(run)
    assert here["predicted"].type == pa.list_(pa.string())
    assert here["predicted"].to_pylist() == expected_labels(mean_NC)
    np.testing.assert_allclose(here["certainty"].to_numpy(), certainty(mean_NC), rtol=1e-4)
    assert set(here["nearest"].to_pylist()) <= set(LABELS)
    with Client("http://testserver", batch=2) as remote:
        remote.http = client
        score_by_endpoint(remote, run, str(source), MAIL, str(tmp_path / "there"))
    there = read(tmp_path / "there")
    assert there.drop_columns("version").schema.equals(here.schema)
    for name in here.column_names:
        if pa.types.is_floating(here[name].type):
            np.testing.assert_allclose(there[name].to_numpy(), here[name].to_numpy(), atol=1e-4)
        else:
            assert there[name].to_pylist() == here[name].to_pylist()


def test_a_task_without_specialists_is_told_with_those_that_have_some(tmp_path):
    run = Run(load_campaign(write_topics(tmp_path, unpublished=True)))
    with pytest.raises(StoreError, match="no specialists of later are published, only of topics"):
        score_new(run, "new.csv", DomainKey("later", "mail"), str(tmp_path / "out"))


def test_specialists_that_are_not_those_that_were_published_score_nothing(run, tmp_path):
    key = "models/topics/0003/second/model.safetensors"
    data = run.storage.read_bytes(key)
    run.storage.write_bytes(key, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match="models/topics/0003 are not those that were published"):
        score_new(run, "new.csv", MAIL, str(tmp_path / "out"))


def test_specialists_that_compute_something_else_score_nothing(run, tmp_path):
    published = run.storage.read_json("published.json")
    published["ensembles"]["topics"]["canaries"][0][0] += 0.1
    run.storage.write_json("published.json", published)
    with pytest.raises(DataError, match="computes other outputs than where it was published"):
        score_new(run, "new.csv", MAIL, str(tmp_path / "out"))
