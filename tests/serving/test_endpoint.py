"""The endpoint on Ray Serve."""

import threading

import httpx
import numpy as np
import pytest

from tests.serving.conftest import local_client
from umc_ray.campaign.campaign import publish
from umc_ray.campaign.publish import PUBLISHED, read_published
from umc_ray.serving.settings import ServingConfig

pytestmark = pytest.mark.ray

MEASURES = ("confidence", "disagreement", "score", "margin", "entropy", "mutual_information")


def test_scores_are_those_of_the_round(server):
    run = server.campaign.run
    for part in run.parts[:2]:
        texts = run.storage.read_table(part.key("pool"), ["text"])["text"].to_pylist()[:8]
        table = run.storage.read_table(part.key("rounds/0002/scores")).slice(0, 8)
        body = {"samples": [{"text": text} for text in texts], "domain": part.domain_key.domain}
        answer = server.post("/v1/score", json=body).json()
        for name in MEASURES:
            found = [each[name] for each in answer["results"]]
            np.testing.assert_allclose(found, table[name].to_numpy(), atol=1e-4)
        labels = [each["label"] for each in answer["results"]]
        assert labels == run.kinds["mood"].predicted(table)[0]
        best = [max(each["probabilities"].values()) for each in answer["results"]]
        np.testing.assert_allclose(best, table["prob_1"].to_numpy(), atol=1e-4)
    refused = server.post("/v1/score", json={**body, "domain": "none"})
    assert refused.status_code == 422
    assert "domain must be one of those of mood: " in refused.text


def test_an_invalid_sample_affects_no_others(server):
    texts = ["good word1", " ", "sad word2", "x" * 1001]
    body = {"samples": [{"id": f"n{i}", "text": text} for i, text in enumerate(texts)]}
    answer = server.post("/v1/score", json=body)
    found = answer.json()
    assert answer.status_code == 200
    assert [(each["index"], each["id"]) for each in found["results"]] == [(0, "n0"), (2, "n2")]
    assert [each["label"] for each in found["results"]] == ["good", "bad"]
    errors = [(each["index"], each["id"], each["error"]) for each in found["errors"]]
    assert errors == [(1, "n1", "blank text"), (3, "n3", "text too long: 1001 characters")]


def test_specialists_are_returned_on_request_and_combine_to_the_ensemble(server):
    body = {"samples": [{"text": "good sad word3"}], "specialists": True, "task": "mood"}
    (result,) = server.post("/v1/score", json=body).json()["results"]
    assert set(result["specialists"]) == {"reviews", "posts", "generalist"}
    ensemble = server.campaign.run.training(9).ensembles["mood"]
    decision = server.campaign.run.storage.read_json(f"{ensemble.folder}/decision.json")
    odds = [np.log(each["good"] / each["bad"]) for each in result["specialists"].values()]
    good = 1 / (1 + np.exp(-np.dot(decision["weights"], odds)))
    assert good == pytest.approx(result["probabilities"]["good"], abs=1e-4)
    plain = server.post("/v1/score", json={**body, "specialists": False}).json()
    assert plain["results"][0]["specialists"] is None


def test_neighbors_are_the_nearest_labeled_samples(server):
    run = server.campaign.run
    labels = {}
    for number in (1, 2):
        for row in run.storage.read_table(f"rounds/000{number}/labels.parquet").to_pylist():
            labels[row["domain"], str(row["sample_id"])] = row["label"]
    part = next(part for part in run.parts if part.split == "pool")
    rows = run.storage.read_table(part.key("pool"), ["sample_id", "text"]).to_pylist()
    row = next(row for row in rows if (part.domain_key.domain, str(row["sample_id"])) in labels)
    body = {"samples": [{"text": row["text"]}, {"text": "sad poor bad"}], "neighbors": 4}
    itself, sad = server.post("/v1/score", json=body).json()["results"]
    assert itself["neighbors"][0]["sample_id"] == str(row["sample_id"])
    assert itself["neighbors"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    for found in (itself, sad):
        assert len(found["neighbors"]) == 4
        near = [each["similarity"] for each in found["neighbors"]]
        assert near == sorted(near, reverse=True)
        for each in found["neighbors"]:
            assert labels[each["domain"], each["sample_id"]] == each["label"]
    assert {each["label"] for each in sad["neighbors"]} == {"bad"}


def test_a_certificate_routes_confident_labels_to_auto(campaign):
    manifest = campaign.run.storage.read_json(PUBLISHED)
    samples = {"samples": [{"text": "good great fine"}, {"text": "good sad"}]}
    body = {**samples, "domain": "reviews"}

    def routes(certificate):
        manifest["ensembles"]["mood"]["certificate"] = certificate
        campaign.run.storage.write_json(PUBLISHED, manifest)
        with local_client(ServingConfig(campaign=campaign.path)) as client:
            answer = client.post("/v1/score", json=body).json()
            of_any_domain = client.post("/v1/score", json=samples).json()
        assert answer["certificate"] == certificate
        assert of_any_domain["certificate"] is None
        assert {each["route"] for each in of_any_domain["results"]} == {"human"}
        probs = [max(each["probabilities"].values()) for each in answer["results"]]
        return [each["route"] for each in answer["results"]], probs

    found, (sure, unsure) = routes(None)
    assert found == ["human", "human"]
    assert sure > unsure
    certificate = {"threshold": sure, "bound": 0.04, "audits": 200, "accepted": 150, "errors": 1}
    assert routes(certificate)[0] == ["auto", "human"]


def test_embeddings_are_those_of_the_pool(server):
    run = server.campaign.run
    part = run.parts[0]
    text = run.storage.read_table(part.key("pool"), ["text"])["text"][0].as_py()
    features = run.selection_features["mood"]
    stored = run.storage.read_table(part.key(features))["embedding"][0].as_py()
    answer = server.post("/v1/embed", json={"samples": [{"text": text}]}).json()
    found = np.array(answer["results"][0]["embedding"], dtype=np.float16)
    np.testing.assert_array_equal(found, np.frombuffer(stored, dtype=np.float16))
    assert answer["encoder"] in features


def test_the_state_can_be_read(server):
    manifest = read_published(server.campaign.run.storage)
    models = server.get("/v1/models").json()
    assert (models["version"], models["round"]) == (manifest.version, manifest.round)
    mood = models["tasks"]["mood"]
    assert (mood["kind"], mood["labels"]) == ("classification", ["bad", "good"])
    assert mood["encoders"] == manifest.ensembles["mood"].encoders
    campaign = server.get("/v1/campaign").json()
    assert (campaign["name"], campaign["rounds"], campaign["labels"]) == ("tiny", 2, 60)
    assert server.get("/healthz").status_code == 200
    assert server.get("/readyz").json() == {"version": manifest.version}


def test_the_api_describes_itself(server):
    described = server.get("/openapi.json").json()
    assert {"/v1/score", "/v1/embed", "/v1/models", "/v1/campaign"} <= set(described["paths"])
    assert described["components"]["schemas"]["ScoreRequest"]["examples"]


def until(server, done):
    """Poll the models until a condition holds."""
    while not done(models := server.get("/v1/models").json()):
        pass
    return models


def swap(server, number):
    """Publish a round, and return its version once it is served."""
    run = server.campaign.run
    publish(run, number)
    version = read_published(run.storage).version
    until(server, lambda models: models["version"] == version)
    return version


def test_versions_change_under_load_without_failed_or_mixed_responses(server):
    texts = [f"good word{i} sad" for i in range(4)]
    expected = {swap(server, n): scores(server, texts)[1] for n in (1, 2)}
    assert len(expected) == 2
    found, done = [], threading.Event()

    def ask():
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not done.is_set():
                found.append(scores(client, texts))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for each in askers:
        each.start()
    for number in (1, 2) * 3:
        swap(server, number)
    done.set()
    for each in askers:
        each.join()
    assert {version for version, _ in found} == set(expected)
    for version, values in found:
        np.testing.assert_allclose(values, expected[version], atol=1e-6)


def scores(client, texts):
    """Request scores; return the version and the probabilities of good."""
    body = {"samples": [{"text": text} for text in texts]}
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["version"], [each["probabilities"]["good"] for each in found["results"]]


def test_a_corrupt_publication_is_refused_and_the_old_one_stays(server):
    storage = server.campaign.run.storage
    new, manifest = swap(server, 2), storage.read_json(PUBLISHED)
    old = swap(server, 1)
    key = "models/mood/0002/posts/model.safetensors"
    data = storage.read_bytes(key)
    storage.write_bytes(key, data[:-1] + bytes([data[-1] ^ 1]))
    storage.write_json(PUBLISHED, manifest)
    models = until(server, lambda models: models["refused"])
    assert "not those that were published" in models["refused"]
    assert models["version"] == scores(server, ["good"])[0] == old
    storage.write_bytes(key, data)
    until(server, lambda models: (models["version"], models["refused"]) == (new, None))
