"""Suffixes: M heads, N samples, D embedding dimension, C classes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from umc_ray.methods import heads
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

LOSS = Classification(("a", "b", "c")).loss


def blobs(n=80, d=5, classes=3, seed=0):
    """Embeddings of classes that overlap, on dimensions of different scale and center."""
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(classes, size=n)
    centers_CD = rng.normal(size=(classes, d))
    x_ND = centers_CD[labels_N] + rng.normal(size=(n, d))
    x_ND = x_ND * rng.uniform(0.1, 3, d) + rng.normal(size=d)
    return x_ND.astype(np.float32), labels_N.astype(np.int64)


def fitted(x_ND, labels_N, kind="linear", weights_N=None, folds=4, seed=0):
    weights_N = np.ones(len(x_ND), np.float32) if weights_N is None else weights_N
    folds_N = np.arange(len(x_ND)) % folds
    first = heads.start(kind, 1, x_ND.shape[1], int(labels_N.max()) + 1, 8, seed)
    return heads.fit(x_ND, labels_N, weights_N, folds_N, first, LOSS)


def logits(parameters, x_ND):
    return heads.forward(parameters, torch.from_numpy(x_ND))[0].numpy()


@pytest.fixture
def one_penalty(monkeypatch):
    monkeypatch.setattr(heads, "PENALTIES", (30.0,))


@pytest.fixture(params=["side by side", "one by one"])
def way(request, monkeypatch):
    """As small problems are solved, and as large ones are."""
    if request.param == "one by one":
        monkeypatch.setattr(heads, "LARGE", 1)
        monkeypatch.setattr(heads, "FEW_ITERATIONS", heads.MAX_ITERATIONS)


def standardised(x_ND, of_ND):
    return (x_ND - of_ND.mean(0)) / of_ND.std(0)


def scikit(x_ND, labels_N, penalty, weights_N=None):
    """The same problem in scikit-learn's words: the sum of losses plus penalty / 2 * |w|^2."""
    model = LogisticRegression(C=1 / penalty, max_iter=1000, tol=1e-8)
    return model.fit(x_ND, labels_N, weights_N)


@pytest.mark.usefixtures("one_penalty", "way")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_head_is_logistic_regression_on_standardised_embeddings(weighted):
    x_ND, labels_N = blobs()
    weights_N = np.ones(80, np.float32)
    if weighted:
        weights_N = np.random.default_rng(1).uniform(0.2, 2, 80).astype(np.float32)
    fit = fitted(x_ND, labels_N, weights_N=weights_N)
    z_ND = standardised(x_ND, x_ND)
    peer = scikit(z_ND, labels_N, 30.0, weights_N)
    expected_NC = peer.decision_function(z_ND)
    ours_NC = logits(fit.parameters, x_ND)
    centered_NC = ours_NC - ours_NC.mean(1, keepdims=True)
    np.testing.assert_allclose(
        centered_NC, expected_NC - expected_NC.mean(1, keepdims=True), atol=0.02
    )


@pytest.mark.usefixtures("one_penalty")
def test_a_head_of_several_labels_is_a_logistic_regression_per_label():
    x_ND, classes_N = blobs()
    targets_NC = np.stack([classes_N == 1, classes_N > 0], axis=1).astype(np.float32)
    first, loss = heads.start("linear", 1, 5, 2, 8, 0), MultiLabel(("a", "b")).loss
    fit = heads.fit(x_ND, targets_NC, np.ones(80, np.float32), np.arange(80) % 4, first, loss)
    z_ND, ours_NC = standardised(x_ND, x_ND), logits(fit.parameters, x_ND)
    for label in range(2):
        expected_N = scikit(z_ND, targets_NC[:, label], 30.0).decision_function(z_ND)
        np.testing.assert_allclose(ours_NC[:, label], expected_N, atol=0.02)
    assert fit.held_out_NC.shape == (80, 2)
    logits_NC = torch.from_numpy(fit.held_out_NC)
    logs_NC = torch.nn.functional.binary_cross_entropy_with_logits(
        logits_NC, torch.from_numpy(targets_NC), reduction="none"
    )
    assert fit.loss == pytest.approx(float(logs_NC.sum(1).mean()), abs=1e-5)


@pytest.mark.usefixtures("one_penalty", "way")
def test_held_out_logits_come_from_a_head_that_did_not_see_the_sample():
    x_ND, labels_N = blobs()
    fit = fitted(x_ND, labels_N, folds=4)
    z_ND, folds_N = standardised(x_ND, x_ND), np.arange(80) % 4
    for fold in range(4):
        seen = folds_N != fold
        expected_NC = scikit(z_ND[seen], labels_N[seen], 30.0).decision_function(z_ND[~seen])
        ours_NC = fit.held_out_NC[~seen]
        np.testing.assert_allclose(
            ours_NC - ours_NC.mean(1, keepdims=True),
            expected_NC - expected_NC.mean(1, keepdims=True),
            atol=0.02,
        )


@pytest.mark.usefixtures("one_penalty")
def test_the_label_of_a_sample_does_not_reach_its_own_held_out_logits():
    x_ND, labels_N = blobs()
    other_N = labels_N.copy()
    other_N[10] = (other_N[10] + 1) % 3
    before_NC = fitted(x_ND, labels_N).held_out_NC
    after_NC = fitted(x_ND, other_N).held_out_NC
    mine = np.arange(80) % 4 == 10 % 4
    np.testing.assert_allclose(before_NC[mine], after_NC[mine], atol=1e-3)
    assert np.abs(before_NC[~mine] - after_NC[~mine]).max() > 0.05


@pytest.mark.usefixtures("way")
def test_the_penalty_with_the_least_held_out_loss_is_taken(monkeypatch):
    x_ND, labels_N = blobs()
    chosen = fitted(x_ND, labels_N)
    losses = {}
    for penalty in heads.PENALTIES:
        monkeypatch.setattr(heads, "PENALTIES", (penalty,))
        losses[penalty] = fitted(x_ND, labels_N).loss
    assert chosen.penalty == min(losses, key=losses.get)
    assert chosen.loss == pytest.approx(losses[chosen.penalty], abs=1e-3)  # alone it stops sooner


def test_the_loss_is_the_log_loss_of_the_held_out_logits():
    x_ND, labels_N = blobs()
    fit = fitted(x_ND, labels_N)
    logs_NC = torch.log_softmax(torch.from_numpy(fit.held_out_NC), 1).numpy()
    assert fit.loss == pytest.approx(-logs_NC[np.arange(80), labels_N].mean(), abs=1e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_fit_is_the_same_again_and_learns(kind):
    x_ND, labels_N = blobs()
    first, second = (fitted(x_ND, labels_N, kind) for _ in range(2))
    np.testing.assert_array_equal(first.held_out_NC, second.held_out_NC)
    right = logits(first.parameters, x_ND).argmax(1) == labels_N
    assert right.mean() > 0.75 > np.bincount(labels_N).max() / 80


def test_a_head_that_starts_where_it_ended_stays_there():
    x_ND, labels_N = blobs()
    cold = fitted(x_ND, labels_N)
    ones_N, folds_N = np.ones(80, np.float32), np.arange(80) % 4
    warm = heads.fit(x_ND, labels_N, ones_N, folds_N, cold.parameters, LOSS)
    np.testing.assert_allclose(
        logits(warm.parameters, x_ND), logits(cold.parameters, x_ND), atol=0.02
    )


def test_a_dimension_that_does_not_vary_does_no_harm():
    x_ND, labels_N = blobs()
    x_ND[:, 0] = 7
    fit = fitted(x_ND, labels_N)
    assert np.isfinite(fit.held_out_NC).all()
    assert np.abs(logits(fit.parameters, x_ND)).max() < 100


def test_one_class_and_few_samples_are_enough():
    x_ND, _ = blobs(n=3)
    fit = heads.fit(
        x_ND,
        np.zeros(3, np.int64),
        np.ones(3, np.float32),
        np.arange(3),
        heads.start("linear", 1, 5, 2, 8, 0),
        LOSS,
    )
    assert logits(fit.parameters, x_ND).argmax(1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_heads_computed_together_are_the_heads_computed_alone(kind):
    generator = torch.Generator().manual_seed(0)
    alone = [heads.start(kind, 1, 5, 3, 4, seed) for seed in range(3)]
    alone = [
        {k: v + torch.randn(v.shape, generator=generator) for k, v in head.items()}
        for head in alone
    ]
    together = {k: torch.cat([head[k] for head in alone]) for k in alone[0]}
    x_ND = torch.randn(6, 5, generator=generator)
    expected_MNC = torch.stack([heads.forward(head, x_ND)[0] for head in alone])
    torch.testing.assert_close(heads.forward(together, x_ND), expected_MNC)


def test_forward_is_what_it_says():
    parameters = {
        "weight": torch.tensor([[[1.0, 2.0], [0.0, -1.0]]]),
        "bias": torch.tensor([[0.5, 0.0]]),
    }
    x_ND = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    assert heads.forward(parameters, x_ND).tolist() == [[[1.5, 1.0], [2.5, 4.0]]]
    inner = {
        "hidden_weight": torch.tensor([[[1.0], [-1.0]]]),
        "hidden_bias": torch.tensor([[-1.0]]),
    }
    mlp = {**inner, "weight": torch.tensor([[[3.0, 0.0]]]), "bias": torch.tensor([[0.0, 1.0]])}
    assert heads.forward(mlp, x_ND).tolist() == [[[0.0, 1.0], [3.0, 1.0]]]


@pytest.mark.usefixtures("one_penalty", "way")
def test_weights_in_training_are_apart_from_those_of_the_held_out_loss():
    """The model is that of the training's weights; the loss counts all samples alike."""
    x_ND, labels_N = blobs()
    rng = np.random.default_rng(3)
    training_N, ones_N = rng.uniform(0.2, 2, 80).astype(np.float32), np.ones(80, np.float32)
    first = heads.start("linear", 1, 5, 3, 8, 0)
    data = x_ND, labels_N, ones_N, np.arange(80) % 4, first, LOSS
    found = heads.fit(*data, training_weights_N=training_N)
    other = fitted(x_ND, labels_N, weights_N=training_N)
    np.testing.assert_array_equal(found.held_out_NC, other.held_out_NC)
    for name, value in other.parameters.items():
        torch.testing.assert_close(found.parameters[name], value)
    outputs_NC = torch.from_numpy(found.held_out_NC)
    losses_N = LOSS(outputs_NC[None], torch.from_numpy(labels_N))[0]
    assert found.loss == pytest.approx(float(losses_N.mean()), rel=1e-5)
    assert found.loss != pytest.approx(other.loss, rel=1e-5)
