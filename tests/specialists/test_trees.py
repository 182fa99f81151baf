"""Suffixes: N samples, D embedding dimension, C outputs."""

import numpy as np
import pytest
import torch

from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.identity import uniform
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.specialists.trees import Trees
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

TWO, FIVE = Classification(("a", "b")), Classification(tuple("abcde"))
TAGS = MultiLabel(("x", "y", "never"))
CONFIG = SpecialistConfig(kind="trees", encoder="table")


def examples(kind, x_ND, texts):
    n = len(x_ND)
    return Examples(
        texts_N=tuple(texts),
        targets=kind.encode(texts),
        features={"table": x_ND},
        domains_N=np.array(["all"] * n),
        ids_N=np.arange(n),
        audit_N=np.ones(n, bool),
        random_N=np.ones(n, bool),
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
    )


def fit(kind, x_ND, texts, folder=".", weights_N=None):
    found = examples(kind, x_ND, texts)
    job = FitJob(CONFIG, kind, Storage(str(folder)), "model", None, 0, TrainingConfig())
    folds_N = (uniform(found.ids_N, 0, "folds") * min(5, len(x_ND))).astype(np.int64)
    weights_N = np.ones(len(x_ND), np.float32) if weights_N is None else weights_N
    return Trees.fit(job, found, weights_N, folds_N, "cpu")


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def xor(x_ND):
    return ["ab"[int(a * b > 0)] for a, b, _ in x_ND]


def corners(x_ND):
    return ["abcde"[2 * (a > 0) + (b > 0)] for a, b, _ in x_ND]


def tags(x_ND):
    names = [[t for t, v in zip("xy", row, strict=False) if v > 0] for row in x_ND]
    return [" | ".join(each) or "(none)" for each in names]


@pytest.mark.parametrize(
    ("kind", "label", "method"),
    [(TWO, xor, "boosting"), (FIVE, corners, "randomized"), (TAGS, tags, "boosting")],
)
def test_trees_learn_what_no_line_can_tell_apart(kind, label, method, tmp_path):
    x_ND, new_ND = rows(400), rows(200, seed=1)
    model, held_out_NC, report = fit(kind, x_ND, label(x_ND), tmp_path)
    assert model.method == method
    outputs_NC = model.outputs(new_ND)
    assert outputs_NC.shape == (200, kind.outputs)
    calibration = kind.calibrate(held_out_NC, kind.encode(label(x_ND)), np.ones(400, np.float32))
    probs_SNC = kind.activation([calibration])(Trees.together([model])(torch.from_numpy(new_ND)))
    decision = kind.decide(probs_SNC[0].numpy(), kind.encode(label(new_ND)), np.ones(200))
    predicted = kind.predict(probs_SNC[0], decision)
    assert np.mean([p == t for p, t in zip(predicted, label(new_ND), strict=True)]) > 0.9
    assert 0 < report.loss < 0.5

    model.save(Storage(str(tmp_path)), "model")
    assert sorted(Storage(str(tmp_path)).keys("model")) == [
        "model/model.safetensors",
        "model/trees.json",
    ]
    loaded = Trees.load(CONFIG, Storage(str(tmp_path)), "model")
    np.testing.assert_array_equal(loaded.outputs(new_ND), outputs_NC)
    assert loaded.group == model.group == (("table", 3),)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("kind", [TWO, FIVE, TAGS])
def test_few_labels_are_enough(kind, n):
    x_ND = rows(n)
    texts = {TWO: xor, FIVE: corners, TAGS: tags}[kind](x_ND)
    model, held_out_NC, report = fit(kind, x_ND, texts)
    assert np.isfinite(held_out_NC).all()
    assert np.isfinite(model.outputs(rows(4, seed=1))).all()
    assert np.isfinite(report.loss)


def test_a_class_of_one_sample_and_one_without_any(tmp_path):
    x_ND = rows(40)
    model, held_out_NC, _ = fit(FIVE, x_ND, ["a"] * 25 + ["b"] * 14 + ["c"])
    for outputs_NC in (held_out_NC, model.outputs(rows(30, seed=1))):
        assert np.isfinite(outputs_NC).all()
        assert outputs_NC[:, :2].max(axis=1).min() > outputs_NC[:, 3:].max()  # d and e are unknown


def test_held_out_outputs_do_not_know_their_own_label():
    x_ND = rows(200)
    texts = ["abcde"[i] for i in np.random.default_rng(5).integers(5, size=200)]
    model, held_out_NC, _ = fit(FIVE, x_ND, texts)
    targets_N = FIVE.encode(texts)
    assert (held_out_NC.argmax(1) == targets_N).mean() < 0.4
    assert (model.outputs(x_ND).argmax(1) == targets_N).mean() > 0.95


def test_a_sample_counts_by_its_weight():
    x_ND = np.zeros((60, 3), np.float32)
    texts = ["a"] * 30 + ["b"] * 30
    weights_N = np.array([1.0] * 30 + [3.0] * 30, np.float32)
    model, _, _ = fit(TWO, x_ND, texts, weights_N=weights_N)
    probs_C = torch.softmax(torch.from_numpy(model.outputs(x_ND[:1])[0]), 0)
    assert probs_C[1] == pytest.approx(0.75, abs=0.01)


def test_a_sample_without_an_embedding_has_no_outputs():
    x_ND = rows(50)
    model, _, _ = fit(TWO, x_ND, xor(x_ND))
    new_ND = np.array([[np.nan] * 3, [1, np.nan, 2]], np.float32)
    assert np.isnan(model.outputs(new_ND)).tolist() == [[True, True], [False, False]]


def test_the_same_labels_give_the_same_trees():
    x_ND = rows(80)
    first, second = (fit(FIVE, x_ND, corners(x_ND)) for _ in range(2))
    assert first[2] == second[2]
    np.testing.assert_array_equal(first[1], second[1])
