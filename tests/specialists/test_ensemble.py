"""Suffixes: S specialists, N samples, D embedding dimension, C classes."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.pools import ENCODER, specialist_config, write_ensemble
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.errors import StoreError
from umc_ray.methods import heads
from umc_ray.specialists import ensemble
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble, load_specialist
from umc_ray.specialists.heads import Head
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KIND = Classification(("a", "b", "c"))


def head(kind, seed, d=4, classes=3):
    generator = torch.Generator().manual_seed(seed)
    first = heads.start(kind, 1, d, classes, 5, seed)
    return {k: v + torch.randn(v.shape, generator=generator) for k, v in first.items()}


HEADS = {
    "posts": (head("linear", 1), 1.0),
    "inner": (head("mlp", 2), 0.5),
    "generalist": (head("linear", 3), 2.0),
}
WIDE = {"wide": (head("linear", 4, d=6), 0.8), "last": (head("linear", 5), 1.5)}
X_ND = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float16)
WIDE_ND = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float16)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def alone(parameters, temperature, x_ND):
    """A specialist computed by hand."""
    x = torch.from_numpy(x_ND.astype(np.float32))
    return (heads.forward(parameters, x)[0] / temperature).softmax(-1)


def probabilities(x_ND):
    """Each specialist computed alone."""
    return torch.stack([alone(*each, x_ND) for each in HEADS.values()])


def test_an_ensemble_is_its_specialists_one_by_one(storage):
    members = [Head({ENCODER: 4}, parameters) for parameters, _ in HEADS.values()]
    calibrations = [{"temperature": temperature} for _, temperature in HEADS.values()]
    models = Ensemble(KIND, members, calibrations, {})
    torch.testing.assert_close(models.probabilities({ENCODER: X_ND}), probabilities(X_ND))
    stored = load_ensemble(storage, write_ensemble(storage, HEADS), KIND)
    torch.testing.assert_close(stored.probabilities({ENCODER: X_ND}), probabilities(X_ND))
    assert (stored.reads, stored.dimensions, stored.decision) == ((ENCODER,), {ENCODER: 4}, {})


def test_specialists_of_one_shape_and_encoder_are_one_product():
    members = [Head({ENCODER: 4}, parameters) for parameters, _ in HEADS.values()]
    models = Ensemble(KIND, members, [{"temperature": 1.0}] * 3, {})
    assert len(models.groups) == 2  # two linear heads and one with a hidden layer
    alike = Ensemble(KIND, members[::2], [{"temperature": 1.0}] * 2, {})
    assert len(alike.groups) == 1


def test_specialists_of_two_encoders_each_read_their_own_in_their_order(storage):
    ref = write_ensemble(storage, {**HEADS, **WIDE}, encoders={"wide": "large"})
    models = load_ensemble(storage, ref, KIND)
    assert models.dimensions == {ENCODER: 4, "large": 6}
    found = models.probabilities({"large": WIDE_ND, ENCODER: X_ND})
    wide, last = WIDE.values()
    expected = [*probabilities(X_ND), alone(*wide, WIDE_ND), alone(*last, X_ND)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_encoders_of_one_dimension_are_not_mistaken_for_each_other(storage):
    other_ND = X_ND[::-1].copy()
    ref = write_ensemble(storage, HEADS, encoders={"generalist": "other"})
    found = load_ensemble(storage, ref, KIND).probabilities({ENCODER: X_ND, "other": other_ND})
    expected = [*probabilities(X_ND)[:2], probabilities(other_ND)[2]]
    torch.testing.assert_close(found, torch.stack(expected))


def labeled(texts):
    n = len(texts)
    return Examples(
        texts_N=tuple(texts),
        targets=KIND.encode(texts),
        features={ENCODER: X_ND.astype(np.float32), "large": WIDE_ND.astype(np.float32)},
        domains_N=np.array(["posts"] * n),
        ids_N=np.zeros(n, np.int64),
        audit_N=np.ones(n, np.bool_),
        random_N=np.ones(n, np.bool_),
        rounds_N=np.zeros(n, np.int64),
        agreement_N=np.ones(n, np.float32),
    )


def test_class_weights_change_the_training_of_a_head(storage):
    """They multiply what the samples weigh already."""
    examples, folds_N = labeled(["a", "a", "a", "a", "b", "a", "b"]), np.arange(7) % 2
    config = SpecialistConfig(encoder=ENCODER, class_weights="balanced")
    job = FitJob(config, KIND, storage, "m", None, 0, TrainingConfig())
    weights_N = np.array([1, 0.5, 1, 1, 1, 0.5, 2], np.float32)
    _, held_out_NC, report = Head.fit(job, examples, weights_N, folds_N, "cpu")
    first = heads.start("linear", 1, 4, 3, 64, 0)
    data = X_ND.astype(np.float32), examples.targets, weights_N, folds_N, first, KIND.loss
    is_b_N = np.array(examples.texts_N) == "b"
    training_N = weights_N * np.where(is_b_N, 3.5 / 3, 3.5 / 4).astype(np.float32)
    alone = heads.fit(*data, training_weights_N=training_N)
    np.testing.assert_allclose(held_out_NC, alone.held_out_NC, atol=1e-5)
    assert report.loss == pytest.approx(alone.loss)


def test_reweighing_changes_training_weights_by_domain_and_group():
    """The domain that names no groups keeps its weights."""
    texts = ["a", "a", "b", "b", "a", "b", "a"]
    examples = replace(
        labeled(texts),
        domains_N=np.array(["posts"] * 5 + ["news"] * 2),
        groups={"sex": np.array(["f", "m", "f", "f", "m", "", ""])},
    )
    job = FitJob(SpecialistConfig(encoder=ENCODER), KIND, None, "m", None, 0, TrainingConfig())
    weights_N = np.ones(7, np.float32)
    np.testing.assert_array_equal(job.training_weights(examples, weights_N), weights_N)
    found_N = replace(job, reweighing=1.0).training_weights(examples, weights_N)
    # posts: 3 f and 2 m, 3 a and 2 b; f and a: 1 where 1.8 are expected, f and b: 2, 1.2;
    # m and a: 2, 1.2. Both are 5 in all
    expected_N = np.array([1.8, 0.6, 0.6, 0.6, 0.6]) * 5 / 4.2
    np.testing.assert_allclose(found_N, [*expected_N, 1, 1], rtol=1e-5)


def test_a_head_over_several_encoders_reads_them_side_by_side(storage):
    both_ND = np.concatenate([WIDE_ND, X_ND], axis=1).astype(np.float32)
    job = FitJob(
        SpecialistConfig(encoder=["large", ENCODER]), KIND, storage, "m", None, 0, TrainingConfig()
    )
    n = len(X_ND)
    examples = labeled([KIND.labels[i % len(KIND.labels)] for i in range(n)])
    ones, folds_N = np.ones(n, np.float32), np.arange(n) % 2
    head, held_out_NC, _ = Head.fit(job, examples, ones, folds_N, "cpu")
    first = heads.start("linear", 1, both_ND.shape[1], len(KIND.labels), 64, 0)
    alone = heads.fit(both_ND, examples.targets, ones, folds_N, first, KIND.loss)
    np.testing.assert_array_equal(held_out_NC, alone.held_out_NC)
    assert head.dimensions == {"large": 6, ENCODER: 4}
    head.save(storage, "m")
    stored = Head.load(job.specialist, storage, "m")
    assert list(stored.dimensions.items()) == [("large", 6), (ENCODER, 4)]
    members = [Head({ENCODER: 4}, HEADS["posts"][0]), stored]
    models = Ensemble(KIND, members, [{"temperature": 1.0}] * 2, {})
    assert models.dimensions == {ENCODER: 4, "large": 6}
    found_NC = models.probabilities({ENCODER: X_ND, "large": WIDE_ND})[1]
    logits_NC = heads.forward(alone.parameters, torch.from_numpy(both_ND))[0]
    torch.testing.assert_close(found_NC, logits_NC.softmax(1))


def test_several_labels_are_scaled_shifted_and_have_thresholds(storage):
    kind = MultiLabel(("a", "b", "c"))
    calibration = {"scales": [2.0, 1.0, 0.5], "shifts": [0.5, 0.0, -1.0]}
    stored = {"one": (head("linear", 1), calibration)}
    decision = {"thresholds": [0.3, 0.5, 0.9]}
    models = load_ensemble(storage, write_ensemble(storage, stored, decision=decision), kind)
    logits_NC = heads.forward(stored["one"][0], torch.from_numpy(X_ND.astype(np.float32)))[0]
    scaled_NC = logits_NC * torch.tensor([2.0, 1.0, 0.5]) + torch.tensor([0.5, 0.0, -1.0])
    found = models.measures({ENCODER: X_ND})
    torch.testing.assert_close(found.mean_NC, scaled_NC.sigmoid())
    picked_NC = scaled_NC.sigmoid() >= torch.tensor([0.3, 0.5, 0.9])
    expected = [
        kind.form().text([kind.labels[i] for i in row.nonzero()[:, 0]]) for row in picked_NC
    ]
    assert kind.predict(found.mean_NC, models.decision) == expected


def test_a_file_of_an_ensemble_that_is_missing_is_an_error_that_names_it(storage):
    with pytest.raises(StoreError, match=r"cannot read models/none/a/config\.json"):
        load_ensemble(storage, EnsembleRef("models/none", ("a",), "v1"), KIND)
    ref = write_ensemble(storage, HEADS)
    for number, file in enumerate(("decision.json", "inner/calibration.json", "inner/model.safe")):
        (key,) = [each for each in storage.keys(ref.folder) if file in each]
        kept = storage.read_bytes(key)
        os.unlink(storage.path(key))
        missing = EnsembleRef(ref.folder, ref.specialists, f"without {number}")
        with pytest.raises(StoreError, match=f"cannot read {key}"):
            load_ensemble(storage, missing, KIND)
        storage.write_bytes(key, kept)


def test_a_stored_specialist_is_what_was_saved(storage):
    for name, (parameters, _) in HEADS.items():
        folder = f"somewhere/{name}"
        config = specialist_config(parameters, "large")
        storage.write_json(f"{folder}/config.json", config.model_dump())
        Head({"large": 4}, parameters).save(storage, folder)
        found = load_specialist(storage, folder)
        assert found.dimensions == {"large": 4}
        assert found.group == Head({"large": 4}, parameters).group
        for key, value in parameters.items():
            torch.testing.assert_close(found.parameters[key], value)


@pytest.mark.parametrize("kind", [KIND, MultiLabel(("a", "b", "c"))])
def test_blocks_do_not_change_measures(kind, monkeypatch):
    same = {"temperature": 1.0, "scales": [1.0] * 3, "shifts": [0.0] * 3}
    members = [Head({ENCODER: 4}, parameters) for parameters, _ in HEADS.values()]
    models = Ensemble(kind, members, [same] * 3, {})
    whole = models.measures({ENCODER: X_ND})
    monkeypatch.setattr(ensemble, "BLOCK_ROWS", 3)
    pieces = models.measures({ENCODER: X_ND})
    for name in ("mean_NC", "expected_utility_N", "certainty_N"):
        torch.testing.assert_close(getattr(whole, name), getattr(pieces, name))
    assert whole.columns.keys() == pieces.columns.keys() == kind.measures_about.keys()
    for name, values_N in whole.columns.items():
        torch.testing.assert_close(values_N, pieces.columns[name])


def test_no_rows_have_no_measures():
    models = Ensemble(KIND, [Head({ENCODER: 4}, HEADS["posts"][0])], [{"temperature": 1.0}], {})
    assert models.measures({ENCODER: X_ND[:0]}).mean_NC.shape == (0, 3)


def test_a_reference_is_a_key_that_survives_its_way_to_a_worker():
    ref = EnsembleRef("models/mood/0001", ("a", "b"), "v1")
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert len({ref, pickle.loads(pickle.dumps(ref))}) == 1


def test_a_reference_survives_json(storage):
    ref = EnsembleRef("models/mood/0001", ("a", "b"), "v1")
    storage.write_record("ref.json", ref)
    assert storage.read_record("ref.json", EnsembleRef) == ref
