"""Suffixes: S specialists, N samples, D embedding dimension, C classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from tests.examples import relabeled, shuffled
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError
from umc_ray.methods import heads
from umc_ray.methods.calibration import fit_temperature
from umc_ray.specialists.combination import SELECTED_WEIGHT, EnsembleJob
from umc_ray.specialists.ensemble import load_ensemble
from umc_ray.specialists.specialist import Examples, FitJob, SyntheticRows
from umc_ray.specialists.training import (
    _folds,
    _sample_weights,
    check_training_resources,
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
            "deep": {"kind": "mlp", "hidden": 4},
            "general": {},
        },
    }
)
KIND, PIXELS = TASK.task_kind(), "pixels"


def samples(n=60, d=6, seed=0):
    """Labeled samples of two domains in which the classes lie apart differently."""
    rng = np.random.default_rng(seed)
    labels_N, far_N = rng.integers(3, size=n), rng.random(n) < 0.5
    x_ND = rng.normal(size=(n, d))
    x_ND[np.arange(n), labels_N + 3 * far_N] += 2
    return Examples(
        texts_N=tuple(KIND.labels[i] for i in labels_N),
        targets=labels_N.astype(np.int64),
        features={PIXELS: x_ND.astype(np.float32)},
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
    return load(storage.read_bytes(f"{folder}/{name}/held_out.safetensors"))["outputs_NC"]


def held_out_mean(storage, trained, kind=KIND):
    """The mean of the specialists' calibrated held-out outputs."""
    names = trained.ref.specialists
    outputs_SNC = torch.stack([held_out(storage, trained.ref.folder, name) for name in names])
    calibrations = [trained.specialists[name].calibration for name in names]
    return kind.activation(calibrations)(outputs_SNC).mean(0).numpy()


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
        assert trained.specialists[name].calibration == {"temperature": found}
        assert trained.specialists[name].rows == 60
    weights_S = storage.read_json("models/mood/0001/decision.json")["weights"]
    shares = [trained.specialists[name].weight for name in trained.ref.specialists]
    assert shares == pytest.approx(np.array(weights_S) / sum(weights_S))


def test_labels_weigh_by_agreement_and_domain_and_alike_where_people_are_one():
    data = replace(samples(4), domains_N=np.array(["near", "near", "far", "far"]))
    disputed = replace(data, agreement_N=np.array([1.0, 0.6, 0.2, 1.0], np.float32))

    def weigh(domain, data):
        specialist = SpecialistConfig(domain=domain)
        settings = TrainingConfig(outside_weight=0.5)
        job = FitJob(specialist, KIND, Storage("none"), "f", None, 0, settings)
        return _sample_weights(job, data).tolist()

    assert weigh(None, data) == [1.0] * 4
    assert weigh(None, disputed) == pytest.approx(np.array([1, 0.6, 0.5, 1]) / 0.775)
    assert weigh("near", disputed) == pytest.approx(np.array([1, 0.6, 0.25, 0.5]) / 0.5875)


def with_synthetic(data, weight=0.5):
    """The data, and copies of all samples with the next label: made from the ones they copy."""
    n = len(data)
    wrong = (data.targets + 1) % 3
    part = SyntheticRows(
        real=n,
        weights_N=np.repeat(np.array([1, weight], np.float32), n),
        origins_N=np.tile(data.ids_N, 2),
    )
    doubled = {
        name: np.tile(getattr(data, name), 2)
        for name in ("domains_N", "audit_N", "random_N", "rounds_N", "agreement_N")
    }
    return replace(
        data,
        **doubled,
        texts_N=(*data.texts_N, *(KIND.labels[i] for i in wrong)),
        targets=np.append(data.targets, wrong),
        features={name: np.tile(x_ND, (2, 1)) for name, x_ND in data.features.items()},
        ids_N=np.append(data.ids_N, data.ids_N + 10_000),
        synthetic=part,
    )


def test_synthetic_samples_weigh_less_and_are_held_out_with_what_they_were_made_from():
    data = with_synthetic(samples(8))
    job = FitJob(SpecialistConfig(), KIND, Storage("none"), "f", None, 0, TrainingConfig())
    weights_N = _sample_weights(job, data)
    assert weights_N.tolist() == [1.0] * 8 + [0.5] * 8
    assert data.judging(weights_N).tolist() == [1.0] * 8 + [0.0] * 8
    folds_N = _folds(job, data)
    assert folds_N[8:].tolist() == folds_N[:8].tolist()
    assert len(data.real) == 8


def test_near_copies_of_held_out_samples_do_not_make_models_look_better_than_they_are():
    """Labels are drawn at random: whoever predicts them has seen them."""
    data, rng = samples(60, d=60), np.random.default_rng(4)
    x_ND = rng.normal(size=(60, 60)).astype(np.float32)
    data = replace(data, features={PIXELS: x_ND}, targets=rng.integers(3, size=60))
    made = with_synthetic(data, weight=1.0)
    copies_ND = x_ND + 0.1 * rng.normal(size=x_ND.shape).astype(np.float32)
    x_ND, targets = np.append(x_ND, copies_ND, axis=0), np.tile(data.targets, 2)
    job = FitJob(SpecialistConfig(), KIND, Storage("none"), "f", None, 0, TrainingConfig())

    def held_out_accuracy(folds_N):
        first = heads.start("linear", 1, 60, 3, 64, 0)
        weights_N = np.ones(120, np.float32)
        fit = heads.fit(x_ND, targets, weights_N, folds_N, first, KIND.loss)
        return (fit.held_out_NC[:60].argmax(1) == data.targets).mean()

    assert held_out_accuracy(_folds(job, made)) < 0.5
    assert held_out_accuracy(_folds(job, replace(made, synthetic=None))) > 0.6


def test_synthetic_samples_teach_but_nothing_is_judged_by_them(stored):
    storage, _ = stored
    taught = train(storage, folder="models/mood/0009", data=with_synthetic(samples()))
    assert len(taught.predicted_N) == len(taught.certainty_N) == 60
    assert {each.rows for each in taught.specialists.values()} == {60}
    before, after = (
        weights(storage, f"models/mood/{number}", "general")["weight"]
        for number in ("0001", "0009")
    )
    assert not torch.allclose(before, after)
    data = samples()
    logits_NC = held_out(storage, "models/mood/0009", "general").numpy()
    assert len(logits_NC) == 120
    expected = fit_temperature(
        logits_NC[:60], data.targets, np.where(data.random_N, 1.0, SELECTED_WEIGHT / 48)
    )
    found = taught.specialists["general"].calibration["temperature"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_temperatures_are_fitted_on_held_out_logits_mostly_of_random_draws(stored):
    storage, trained = stored
    data = samples()
    weights_N = np.where(data.random_N, 1.0, SELECTED_WEIGHT / 48)
    for name, report in trained.specialists.items():
        logits_NC = held_out(storage, "models/mood/0001", name)
        expected = fit_temperature(logits_NC.numpy(), data.targets, weights_N)
        temperature = report.calibration["temperature"]
        assert temperature == pytest.approx(expected, rel=1e-3)


def test_a_specialist_is_the_head_of_its_weighted_samples(stored):
    storage, _ = stored
    data = samples()
    own_N = np.where(data.domains_N == "near", 1.0, TrainingConfig().outside_weight)
    near, general = (weights(storage, "models/mood/0001", name) for name in ("near", "general"))
    first = heads.start("linear", 1, 6, 3, 64, 0)
    for parameters, weights_N in ((near, own_N / own_N.mean()), (general, np.ones(60))):
        x_ND = data.features[PIXELS]
        folds_N = np.arange(60) % 5  # only the penalty depends on the folds
        weights_N = weights_N.astype(np.float32)
        fit = heads.fit(x_ND, data.targets, weights_N, folds_N, first, KIND.loss)
        ours_NC = heads.forward(parameters, torch.from_numpy(x_ND))[0]
        expected_NC = heads.forward(fit.parameters, torch.from_numpy(x_ND))[0]
        torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    assert not torch.equal(near["weight"], general["weight"])


def test_the_same_samples_give_the_same_ensemble_whatever_their_order(stored):
    storage, trained = stored
    data = samples()
    order = np.random.default_rng(1).permutation(60)
    again = train(storage, "models/again", data=shuffled(data, order))
    again_NC, mean_NC = held_out_mean(storage, again), held_out_mean(storage, trained)
    np.testing.assert_allclose(again_NC, mean_NC[order], atol=0.02)
    np.testing.assert_allclose(again.certainty_N, trained.certainty_N[order], atol=0.02)
    same = train(storage, "models/same")
    assert same.ref.version == trained.ref.version
    np.testing.assert_array_equal(held_out_mean(storage, same), mean_NC)
    assert same.predicted_N == trained.predicted_N


def test_other_labels_give_an_ensemble_of_another_version(stored):
    storage, trained = stored
    data = samples()
    other = relabeled(data, KIND, [follower(data.texts_N[0]), *data.texts_N[1:]])
    assert train(storage, "models/other", data=other).ref.version != trained.ref.version


def follower(label):
    return KIND.labels[(KIND.labels.index(label) + 1) % 3]


def test_a_warm_start_begins_where_the_last_round_ended(stored):
    storage, trained = stored
    cold = train(storage, "models/cold", before=trained.ref)
    warm = train(storage, "models/warm", before=trained.ref, start="warm")
    assert cold.ref.version == trained.ref.version  # as if there had been no round before
    assert warm.ref.version != trained.ref.version
    warm_NC, mean_NC = held_out_mean(storage, warm), held_out_mean(storage, trained)
    np.testing.assert_allclose(warm_NC, mean_NC, atol=0.15)


@pytest.mark.slow
def test_a_group_of_workers_trains_the_same_specialist(stored):
    storage, trained = stored
    group = train(storage, "models/group", task=only("near"), workers=2)
    folders = ("models/group", "models/mood/0001")
    x_ND = torch.from_numpy(samples().features[PIXELS])
    ours_NC, expected_NC = (
        heads.forward(weights(storage, folder, "near"), x_ND)[0] for folder in folders
    )
    torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    ours_NC, expected_NC = (held_out(storage, folder, "near") for folder in folders)
    torch.testing.assert_close(ours_NC, expected_NC, atol=0.05, rtol=0)
    alone, among = group.specialists["near"], trained.specialists["near"]
    assert (alone.penalty, alone.rows) == (among.penalty, 60)
    assert alone.loss == pytest.approx(among.loss, abs=1e-3)


def test_each_specialist_learns_from_the_embeddings_of_its_own_encoder(stored):
    storage, trained = stored
    small, large = {"kind": "pixels"}, {"kind": "pixels", "image_px": 16}
    specialists = {
        "general": {"encoder": "pixels"},
        "wide": {"encoder": "wide"},
    }
    task = TaskConfig.model_validate(
        {
            **TASK.model_dump(exclude={"encoder"}),
            "encoders": {"pixels": small, "wide": large},
            "specialists": specialists,
        }
    )
    data = samples()
    wide_ND = np.concatenate([data.features[PIXELS], np.ones((60, 2), np.float32)], axis=1)
    both = replace(data, features={**data.features, "wide": wide_ND[:, ::-1].copy()})
    found = train(storage, "models/two", data=both, task=task)
    assert weights(storage, "models/two", "wide")["weight"].shape == (1, 8, 3)
    general = weights(storage, "models/two", "general")
    for name, value in weights(storage, "models/mood/0001", "general").items():
        torch.testing.assert_close(general[name], value)
    same = replace(trained.specialists["general"], weight=found.specialists["general"].weight)
    assert found.specialists["general"] == same
    models = load_ensemble(storage, found.ref, KIND)
    assert models.dimensions == {"pixels": 6, "wide": 8}


def test_an_ensemble_for_several_labels_is_trained_with_thresholds(stored):
    storage, _ = stored
    task = TASK.model_copy(update={"kind": "multi_label"})
    data, kind = samples(200), task.task_kind()
    x_ND = data.features[PIXELS]
    near_C = x_ND[:, :3] + x_ND[:, 3:] > np.array([0.5, 0.5, 2.5])
    texts = [kind.form().text([kind.labels[i] for i in np.flatnonzero(row)]) for row in near_C]
    found = train(storage, "models/several", data=relabeled(data, kind, texts), task=task)
    decision = storage.read_json("models/several/decision.json")
    assert len(decision["thresholds"]) == 3
    assert all(0 < each < 1 for each in decision["thresholds"])
    for report in found.specialists.values():
        assert report.calibration.keys() == {"scales", "shifts"}
    mean_NC = held_out_mean(storage, found, kind)
    assert kind.utility(found.predicted_N, texts).mean() > 0.6
    # A decision by the other folds is nearly the decision by all.
    same = [
        a == b
        for a, b in zip(
            found.predicted_N, kind.predict(torch.from_numpy(mean_NC), decision), strict=True
        )
    ]
    assert np.mean(same) > 0.85
    assert ((found.certainty_N > 0) & (found.certainty_N <= 1)).all()
    stored_measures = load_ensemble(storage, found.ref, kind).measures({PIXELS: x_ND})
    assert stored_measures.mean_NC.shape == (200, 3)


def only(name):
    return TASK.model_copy(update={"specialists": {name: TASK.ensemble()[name]}})


def test_a_gpu_that_nobody_has_is_refused_before_anybody_waits_for_it(ray_cluster):
    check_training_resources(TrainingConfig())
    with pytest.raises(ConfigError, match=r"1 x 1 GPUs \(training.use_gpu\) do not fit"):
        check_training_resources(TrainingConfig(use_gpu=True))
    with pytest.raises(ConfigError, match=r"99 x 1 CPU \(training.workers\) do not fit"):
        check_training_resources(TrainingConfig(workers=99))
