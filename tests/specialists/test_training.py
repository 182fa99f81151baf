"""Suffixes: S specialists, N samples, D embedding dimension, C classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.task import SpecialistConfig, TaskConfig
from umc_ray.methods import heads
from umc_ray.methods.calibration import fit_temperature
from umc_ray.specialists.training import (
    EnsembleJob,
    SpecialistJob,
    TrainingSet,
    _sample_weights,
    train_ensembles,
)
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray

TASK = TaskConfig.model_validate(
    {
        "kind": "classification",
        "labels": ["a", "b", "c"],
        "encoder": {"kind": "pixels"},
        "domains": {"near": {"source": "x"}, "far": {"source": "y"}},
        "specialists": {
            "near": {"domain": "near"},
            "deep": {"head": "mlp", "hidden": 4},
            "general": {},
        },
    }
)


def samples(n=60, d=6, seed=0):
    """Labeled samples of two domains in which the classes lie apart differently."""
    rng = np.random.default_rng(seed)
    labels_N, far_N = rng.integers(3, size=n), rng.random(n) < 0.5
    x_ND = rng.normal(size=(n, d))
    x_ND[np.arange(n), labels_N + 3 * far_N] += 2
    return TrainingSet(
        embeddings_ND=x_ND.astype(np.float32),
        labels_N=labels_N.astype(np.int64),
        domains_N=np.where(far_N, "far", "near"),
        ids_N=rng.permutation(10 * n)[:n],
        audit_N=np.arange(n) < 12,
        random_N=np.arange(n) < 12,
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
    )


def train(storage, folder="models/mood/0001", before=None, data=None, task=TASK, **settings):
    job = EnsembleJob(task, samples() if data is None else data, folder, before)
    (trained,) = train_ensembles([job], TrainingConfig(**settings), storage, seed=0)
    return trained


def weights(storage, folder, name):
    return load(storage.read_bytes(f"{folder}/{name}/model.safetensors"))


def held_out(storage, folder, name):
    return load(storage.read_bytes(f"{folder}/{name}/held_out.safetensors"))["logits_NC"]


@pytest.fixture(scope="module")
def stored(ray_cluster, tmp_path_factory):
    """An ensemble trained once, with where it lies."""
    storage = Storage(str(tmp_path_factory.mktemp("training")))
    return storage, train(storage)


def test_every_specialist_is_stored_with_its_configuration_and_temperature(stored):
    storage, trained = stored
    assert trained.ref.specialists == ("near", "deep", "general")
    for name in trained.ref.specialists:
        folder = f"models/mood/0001/{name}"
        assert set(weights(storage, "models/mood/0001", name)) >= {"weight", "bias"}
        assert storage.read_json(f"{folder}/config.json") == TASK.ensemble()[name].model_dump()
        found = storage.read_json(f"{folder}/calibration.json")["temperature"]
        assert trained.specialists[name]["temperature"] == found
        assert trained.specialists[name]["rows"] == 60


def test_labels_weigh_by_agreement_and_domain_and_alike_where_people_are_one():
    data = replace(samples(4), domains_N=np.array(["near", "near", "far", "far"]))
    disputed = replace(data, agreement_N=np.array([1.0, 0.6, 0.2, 1.0], np.float32))

    def weigh(domain, data):
        specialist = SpecialistConfig(domain=domain)
        job = SpecialistJob(specialist, 3, TrainingConfig(outside_weight=0.5), "f", None, 0)
        return _sample_weights(job, data).tolist()

    assert weigh(None, data) == [1.0] * 4
    assert weigh(None, disputed) == pytest.approx(np.array([1, 0.6, 0.5, 1]) / 0.775)
    assert weigh("near", disputed) == pytest.approx(np.array([1, 0.6, 0.25, 0.5]) / 0.5875)


def test_temperatures_are_fitted_on_held_out_logits_mostly_of_audits(stored):
    storage, trained = stored
    data = samples()
    weights_N = np.where(data.audit_N, 1.0, 10 / 48)
    predictions = []
    for name, manifest in trained.specialists.items():
        logits_NC = held_out(storage, "models/mood/0001", name)
        expected = fit_temperature(logits_NC.numpy(), data.labels_N, weights_N)
        assert manifest["temperature"] == pytest.approx(expected, rel=1e-3)
        predictions.append(torch.softmax(logits_NC / manifest["temperature"], -1).numpy())
    np.testing.assert_allclose(trained.held_out_NC, np.mean(predictions, axis=0), atol=1e-6)


def test_a_specialist_is_the_head_of_its_weighted_samples(stored):
    storage, _ = stored
    data = samples()
    own_N = np.where(data.domains_N == "near", 1.0, TrainingConfig().outside_weight)
    near, general = (weights(storage, "models/mood/0001", name) for name in ("near", "general"))
    first = heads.start("linear", 1, 6, 3, 64, 0)
    for parameters, weights_N in ((near, own_N / own_N.mean()), (general, np.ones(60))):
        x_ND = data.embeddings_ND
        folds_N = np.arange(60) % 5  # only the penalty depends on the folds
        fit = heads.fit(x_ND, data.labels_N, weights_N.astype(np.float32), folds_N, first)
        ours_NC = heads.forward(parameters, torch.from_numpy(x_ND))[0]
        expected_NC = heads.forward(fit.parameters, torch.from_numpy(x_ND))[0]
        torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    assert not torch.equal(near["weight"], general["weight"])


def test_the_same_samples_give_the_same_ensemble_whatever_their_order(stored):
    storage, trained = stored
    data = samples()
    order = np.random.default_rng(1).permutation(60)
    shuffled = TrainingSet(*(values[order] for values in vars(data).values()))
    again = train(storage, "models/again", data=shuffled)
    np.testing.assert_allclose(again.held_out_NC, trained.held_out_NC[order], atol=0.02)
    same = train(storage, "models/same")
    assert same.ref.version == trained.ref.version
    np.testing.assert_array_equal(same.held_out_NC, trained.held_out_NC)


def test_other_labels_give_an_ensemble_of_another_version(stored):
    storage, trained = stored
    data = samples()
    other = replace(data, labels_N=(data.labels_N + (data.ids_N == data.ids_N[0])) % 3)
    assert train(storage, "models/other", data=other).ref.version != trained.ref.version


def test_a_warm_start_begins_where_the_last_round_ended(stored):
    storage, trained = stored
    cold = train(storage, "models/cold", before=trained.ref)
    warm = train(storage, "models/warm", before=trained.ref, start="warm")
    assert cold.ref.version == trained.ref.version  # as if there had been no round before
    assert warm.ref.version != trained.ref.version
    np.testing.assert_allclose(warm.held_out_NC, trained.held_out_NC, atol=0.15)


@pytest.mark.slow
def test_a_group_of_workers_trains_the_same_specialist(stored):
    storage, trained = stored
    group = train(storage, "models/group", task=only("near"), workers=2)
    folders = ("models/group", "models/mood/0001")
    x_ND = torch.from_numpy(samples().embeddings_ND)
    ours_NC, expected_NC = (
        heads.forward(weights(storage, folder, "near"), x_ND)[0] for folder in folders
    )
    torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    ours_NC, expected_NC = (held_out(storage, folder, "near") for folder in folders)
    torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    alone, among = group.specialists["near"], trained.specialists["near"]
    assert (alone["penalty"], alone["rows"]) == (among["penalty"], 60)
    assert alone["loss"] == pytest.approx(among["loss"], abs=1e-3)


def only(name):
    return TASK.model_copy(update={"specialists": {name: TASK.ensemble()[name]}})
