"""A campaign with a fine-tuned specialist: run, kept, published, served, scored and forgotten.

Suffixes: N samples, C outputs.
"""

import os
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import yaml
from starlette.testclient import TestClient

from tests import tiny
from tests.networks import write_text_network
from tests.specialists.test_fine_tuning import examples, job, text_encoder, texts
from umc_ray.bulk_scoring import score_new
from umc_ray.campaign.campaign import republish
from umc_ray.campaign.documents import Rescored, RescoredPool
from umc_ray.campaign.forget import forget
from umc_ray.campaign.publish import read_published
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import compute_tuned_outputs, score_pool
from umc_ray.client import _scores
from umc_ray.cluster.resources import ANY_NODE
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.loading import load_campaign
from umc_ray.passes.rescore import read_outputs
from umc_ray.records import DomainKey
from umc_ray.report.stage_times import events
from umc_ray.selection.labeled import labels_so_far
from umc_ray.serving.app import create_app
from umc_ray.serving.batcher import Batcher
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.settings import ServingConfig
from umc_ray.specialists.held_out import read_held_out
from umc_ray.specialists.specialist import FitReport
from umc_ray.specialists.training import _folds, train_specialist
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

pytestmark = [pytest.mark.ray, pytest.mark.slow]

POSTS = DomainKey("mood", "posts")

HERE = "http://localhost"


@pytest.fixture(scope="module")
def whole(ray_cluster, made_once):
    def fill(folder):
        values = tiny.campaign(folder, training={"refit_growth": 3})
        values["tasks"]["mood"] |= {
            "encoder": {
                "kind": "transformers",
                "path": str(write_text_network(folder / "network")),
                "workers": 1,
            },
            "specialists": {
                "head": {},
                "tuned": {"kind": "top_layers", "layers": 1, "learning_rate": 0.01},
            },
        }
        values["ingest"] = {"rows_per_part": 100}
        tiny.run_to_its_end(tiny.write_campaign(folder, values))

    return made_once("fine-tuning", fill) / "campaign.yaml"


@pytest.fixture
def run(whole):
    return Run(load_campaign(whole))


def weights(run, number):
    return dict(run.training(number + 1).ensembles["mood"].tuned)["tuned"]


def test_a_network_is_trained_in_the_first_and_the_last_round_and_kept_between(run):
    assert weights(run, 1) == weights(run, 2) != weights(run, 3)
    learned = [
        read_held_out(run.storage, f"models/mood/{number:04d}/tuned").learned
        for number in (1, 2, 3)
    ]
    assert learned == [30, 30, 90]
    tables = {key.split("/")[1] for key in run.storage.keys("outputs")}
    assert tables == {weights(run, 1), weights(run, 3)}


def test_each_epoch_is_in_the_log_of_events(run):
    epochs = [each for each in events(run.storage) if each["stage"] == "epoch"]
    reports = [
        run.storage.read_record(f"models/mood/{number:04d}/tuned/report.json", FitReport)
        for number in (1, 3)  # in which it was trained
    ]
    assert len(epochs) == sum(3 * 3 + report.epochs for report in reports)
    assert {(each["task"], each["specialist"]) for each in epochs} == {("mood", "tuned")}
    assert [each["fold"] for each in epochs[:10]] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert all(each["loss"] > 0 and each["samples_per_s"] > 0 for each in epochs)
    assert not run.storage.keys("epochs")


def test_frozen_layers_run_once_for_each_part(run):
    lower = run.storage.keys("lower")
    assert len(lower) == len(run.parts)
    assert {key.split("/")[1].rpartition("-")[2] for key in lower} == {"1"}


def test_it_is_served_as_it_scores_swapped_and_rolled_back(run, whole, tmp_path):
    rows = tiny.texts(40, seed=9)
    tiny.write_csv(tmp_path / "new.csv", rows)
    endpoint = Endpoint(ServingConfig(campaign=whole))
    client, seen = TestClient(create_app(endpoint), base_url=HERE, client=("127.0.0.1", 1)), []
    for number in (3, 2):
        republish(run, number, back=False)
        out = Storage(str(tmp_path / f"out{number}"))
        score_new(run, str(tmp_path / "new.csv"), POSTS, out.root, probabilities=True)
        scored = [row for key in out.keys("") for row in out.read_table(key).to_pylist()]
        endpoint.refresh()
        samples = [{"text": row["text"]} for row in rows]
        body = {"samples": samples, "domain": POSTS.domain}
        answer = client.post("/v1/score", json=body)
        assert answer.status_code == HTTPStatus.OK, answer.text
        served = answer.json()
        assert served["version"] == read_published(run.storage).version
        good = [each["probabilities"]["good"] for each in served["results"]]
        np.testing.assert_allclose(good, [row["probability_good"] for row in scored], atol=1e-3)
        seen.append(good)
    republish(run, 3, back=False)
    assert not np.allclose(*seen, atol=1e-3)


def test_under_overload_heads_answer_and_say_so(whole, monkeypatch):
    monkeypatch.setattr(Batcher, "is_behind", True)
    body = {"samples": [{"text": "good word1"}], "specialists": True, "columns": True}
    found = {}
    for how in ("refuse", "heads"):
        endpoint = Endpoint(ServingConfig(campaign=whole, under_overload=how))
        client = TestClient(create_app(endpoint), base_url=HERE, client=("127.0.0.1", 1))
        answer = client.post("/v1/score", json=body)
        found[how] = answer.json()
        (score,) = _scores(answer.content)  # as the client of umc_ray reads it
        assert score.by_heads == found[how]["by_heads"]
    assert [each["by_heads"] for each in found.values()] == [False, True]
    assert found["heads"]["certificate"] is None
    (whole_one,), (by_head,) = (each["results"] for each in found.values())
    assert set(whole_one["specialists"]) == {"head", "tuned"}
    assert by_head["specialists"] == {"head": pytest.approx(by_head["probabilities"])}
    assert by_head["specialists"]["head"] == pytest.approx(whole_one["specialists"]["head"])
    assert by_head["probabilities"] != pytest.approx(whole_one["probabilities"])
    assert by_head["route"] == "human"


def test_a_forgotten_sample_is_gone_from_outputs_and_frozen_layers(whole, tmp_path):
    tiny.copy_campaign(whole.parent, tmp_path / "copy")
    run = Run(load_campaign(tmp_path / "copy" / whole.name))
    part = run.pool(POSTS)[0]
    row = run.storage.read_table(part.key("pool")).to_pylist()[5]
    forget(run, POSTS, [row["key"]])
    for key in run.storage.keys("outputs"):
        if key.endswith(part.key("")):
            table = run.storage.read_table(key)
            values = np.frombuffer(table["embedding"].to_pylist()[5], np.float16)
            assert np.isnan(values).all()
    assert not [key for key in run.storage.keys("lower") if key.endswith(part.key(""))]


@pytest.fixture
def heads_first(whole, tmp_path):
    """The last round, of which nothing is scored yet, where heads are to score first."""
    tiny.copy_campaign(whole.parent, tmp_path / "copy")
    values = yaml.safe_load(whole.read_text()) | {"selection": {"rescored_per_label": 1}}
    run = Run(load_campaign(tiny.write_campaign(tmp_path / "copy", values)))
    training = run.storage.read_json("rounds/0003/training.json")
    training["ensembles"]["mood"]["heads_first"] = True
    run.storage.write_json("rounds/0003/training.json", training)
    for name in ("outputs", "lower", "rounds/0003/scores", "rounds/0003/top"):
        run.storage.delete(name)
    return run


def test_heads_score_a_pool_and_the_network_the_best_of_it(run, heads_first, monkeypatch):
    storage, training, table = heads_first.storage, heads_first.training(4), "rounds/0003/scores"
    compute_tuned_outputs(heads_first, 3, training)
    score_pool(heads_first, 3, training, lambda _: None)
    labels = labels_so_far(storage, heads_first.folders(3))["sample_id"].to_numpy()
    counts = []
    for part in run.parts:
        known_N = np.isfinite(read_outputs(storage, part, f"outputs/{weights(run, 3)}")).all(1)
        before, after = (each.storage.read_table(part.key(table)) for each in (run, heads_first))
        for name in ("margin", "disagreement"):
            before_N, after_N = before[name].to_numpy(), after[name].to_numpy()
            np.testing.assert_allclose(after_N[known_N], before_N[known_N], atol=2e-3)
        lower = storage.read_table(
            next(k for k in storage.keys("lower") if k.endswith(part.key("")))
        )
        assert lower["shape"].is_valid().to_pylist() == known_N.tolist()
        if part.split == "test":
            assert known_N.all()
            continue
        ids_N = after["sample_id"].to_numpy()
        assert known_N[np.isin(ids_N, labels)].all()
        assert (after["disagreement"].to_numpy()[~known_N] == 0).all()  # of one head
        best = storage.read_table(part.key("rounds/0003/top"))["sample_id"].to_numpy()
        assert set(best) <= set(ids_N[known_N]) - set(labels)
        counts.append(int(known_N.sum()))
    assert 60 < sum(counts) < 280
    assert storage.read_record("rounds/0003/rescored.json", Rescored) == Rescored(
        {"mood": RescoredPool(sum(counts), 280)}
    )
    monkeypatch.setattr("umc_ray.campaign.scoring.rescore", None)  # a resumed run has none to do
    compute_tuned_outputs(heads_first, 3, training)


@dataclass(frozen=True)
class Deadly(Classification):
    """Kills a worker once, in the middle of a training; counts the batches of all workers."""

    folder: str = ""

    def loss(self, outputs_MNC, targets):
        calls = Path(self.folder, "calls")
        with calls.open("ab") as file:
            file.write(b".")
        fatal = Path(self.folder, "fatal")
        if fatal.exists() and calls.stat().st_size >= int(fatal.read_text()):
            fatal.unlink()
            os._exit(9)
        return super().loss(outputs_MNC, targets)


@pytest.mark.long
def test_a_killed_worker_group_resumes_at_its_checkpoint(ray_cluster, tmp_path):
    """It dies in the second fold, after two of its epochs."""
    encoder, data = text_encoder(write_text_network(tmp_path / "network")), examples(texts(40))
    (tmp_path / "fatal").write_text("11")
    kind = Deadly(("bad", "good"), str(tmp_path))
    task = job(Storage(str(tmp_path / "run")), encoder, answers=kind, epochs=3)
    task = replace(task, training=TrainingConfig(workers=1, folds=3))
    report = train_specialist(task, data, ANY_NODE)
    assert not (tmp_path / "fatal").exists()
    assert not task.storage.keys("train")
    assert read_held_out(task.storage, task.folder).outputs_NC.abs().sum(1).min() > 0
    folds_N = _folds(task, data)
    learned = [int((folds_N != fold).sum()) for fold in range(3)]
    batches = 3 * sum(-(-n // 16) for n in learned) + report.epochs * 3
    # An epoch has two or three batches; from the start, eleven would be repeated.
    assert 0 < (tmp_path / "calls").stat().st_size - batches <= 3
