"""Suffixes: N samples, C labels."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from umc_ray.methods import multi_label
from umc_ray.methods.multi_label import (
    binary_disagreement,
    binary_entropy,
    f1_thresholds,
    figures,
    fit_scale_and_shift,
    jaccard,
    macro_f1,
    micro_f1,
)
from umc_ray.methods.scoring import score


def drawn(n, scale, shift, seed=0):
    """Logits of one label whose targets are drawn from sigmoid(scale z + shift)."""
    rng = np.random.default_rng(seed)
    z_N = rng.normal(scale=2, size=n)
    y_N = rng.random(n) < expit(scale * z_N + shift)
    return z_N.astype(np.float32), y_N.astype(np.float32)


def test_scale_and_shift_that_made_the_targets_are_found():
    truth = [(0.5, -1.0), (1.0, 0.0), (2.0, 1.5)]
    columns = [drawn(6000, *each, seed=i) for i, each in enumerate(truth)]
    z_NC, y_NC = (np.stack(each, axis=1) for each in zip(*columns, strict=True))
    scales, shifts = fit_scale_and_shift(z_NC, y_NC, np.ones(6000))
    assert scales == pytest.approx([0.5, 1.0, 2.0], rel=0.1)
    assert shifts == pytest.approx([-1.0, 0.0, 1.5], abs=0.15)


def test_with_many_samples_it_is_the_logistic_regression_of_one_logit():
    z_N, y_N = drawn(4000, 0.7, 0.4)
    weights_N = np.random.default_rng(5).uniform(0.2, 2, 4000)
    peer = LogisticRegression(C=np.inf, tol=1e-8).fit(z_N[:, None], y_N, weights_N)
    (scale,), (shift,) = fit_scale_and_shift(z_N[:, None], y_N[:, None], weights_N)
    assert scale == pytest.approx(peer.coef_[0, 0], rel=2e-3)
    assert shift == pytest.approx(peer.intercept_[0], abs=2e-3)


def test_it_is_the_minimum_of_the_loss_with_its_prior():
    z_N, y_N = drawn(25, 0.7, 0.4, seed=3)

    def loss(parameters):
        log_a, b = parameters
        logits_N = np.exp(log_a) * z_N + b
        nll = -np.where(y_N > 0, np.log(expit(logits_N)), np.log(expit(-logits_N))).sum()
        return nll + (log_a**2 + b**2) / 2

    expected = minimize(loss, [0.5, 0.5], method="Nelder-Mead", options={"xatol": 1e-8}).x
    (scale,), (shift,) = fit_scale_and_shift(z_N[:, None], y_N[:, None], np.ones(25))
    assert (np.log(scale), shift) == pytest.approx(expected, abs=1e-3)


def test_weights_are_counts_of_samples():
    z_N, y_N = drawn(60, 0.7, 0.4)
    weights_N = np.arange(60) % 3
    rows = np.repeat(np.arange(60), weights_N)
    by_weight = fit_scale_and_shift(z_N[:, None], y_N[:, None], weights_N)
    repeated = fit_scale_and_shift(z_N[rows, None], y_N[rows, None], np.ones(len(rows)))
    np.testing.assert_allclose(by_weight, repeated, rtol=1e-4)


def test_without_targets_nothing_is_corrected_and_without_positives_little():
    scales, shifts = fit_scale_and_shift(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    assert (scales, shifts) == ([1, 1], [0, 0])
    (scale,), (shift,) = fit_scale_and_shift(np.full((3, 1), -1.0), np.zeros((3, 1)), np.ones(3))
    assert 1 < scale < 2
    assert -1 < shift < 0


def test_a_label_is_fitted_by_itself():
    z_N, y_N = drawn(50, 1.0, 0.0)
    alone = fit_scale_and_shift(z_N[:, None], y_N[:, None], np.ones(50))
    z_NC, y_NC = np.stack([z_N, -z_N], 1), np.stack([y_N, y_N], 1)
    (first, _), (shift, _) = fit_scale_and_shift(z_NC, y_NC, np.ones(50))
    assert ([first], [shift]) == alone


def f1(y_N, picked_N, weights_N):
    return sklearn.metrics.f1_score(y_N, picked_N, sample_weight=weights_N, zero_division=0.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.booleans(), st.integers(1, 3)), min_size=5, max_size=40
    )
)
def test_a_threshold_has_the_highest_f1_of_all(rows):
    p_N = np.array([(1 + p) / 14 for p, _, _ in rows])
    y_N, w_N = np.array([y for _, y, _ in rows]), np.array([w for _, _, w in rows], float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_label, "_SHRINK", 0.0)
        patch.setattr(multi_label, "_MIN_POSITIVES", 1)
        (threshold,) = f1_thresholds(p_N[:, None], y_N[:, None].astype(np.float32), w_N)
    if not y_N.any():
        assert threshold == 0.5
        return
    best = max(f1(y_N, p_N >= each, w_N) for each in np.unique(p_N))
    assert f1(y_N, p_N >= threshold, w_N) == pytest.approx(best)


@pytest.mark.parametrize(("positives", "share"), [(4, 0), (5, 1 / 3), (10, 1 / 2), (90, 0.9)])
def test_a_threshold_is_drawn_to_a_half_where_positives_are_few(positives, share):
    p_N = np.linspace(0.1, 0.9, 200)[::-1]
    y_N = np.arange(200) < positives
    best = (p_N[positives - 1] + p_N[positives]) / 2
    (found,) = f1_thresholds(p_N[:, None], y_N[:, None].astype(np.float32), np.ones(200))
    assert found == pytest.approx(share * best + (1 - share) / 2)


def test_a_label_that_all_have_or_none_keeps_a_threshold_within_bounds():
    p_NC = np.array([[1.0, 0.0]] * 20, np.float32)
    always, never = f1_thresholds(p_NC, np.array([[1.0, 0.0]] * 20), np.ones(20))
    assert 0.5 < always <= 0.98
    assert never == 0.5
    (lowest,) = f1_thresholds(np.zeros((200, 1)), np.ones((200, 1)), np.ones(200))
    assert 0.02 <= lowest < 0.1


sets = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.lists(st.booleans(), min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30)
@given(sets)
def test_figures_are_those_of_scikit_learn(rows):
    predicted_NC, targets_NC = (np.array(each) for each in zip(*rows, strict=True))
    for ours, average in ((micro_f1, "micro"), (macro_f1, "macro")):
        theirs = sklearn.metrics.f1_score(
            targets_NC, predicted_NC, average=average, zero_division=0.0
        )
        assert ours(predicted_NC, targets_NC) == pytest.approx(theirs)
    found = figures(predicted_NC, targets_NC)
    exact = sklearn.metrics.accuracy_score(targets_NC, predicted_NC)
    assert found["exact match"][0] == pytest.approx(exact)
    assert found["micro F1"][0] == micro_f1(predicted_NC, targets_NC)
    assert found["macro F1"][0] == macro_f1(predicted_NC, targets_NC)
    for value, low, high in found.values():
        assert 0 <= low <= value <= high <= 1


@given(sets)
def test_the_jaccard_index_is_that_of_scikit_learn_and_one_for_two_empty_sets(rows):
    predicted_NC, targets_NC = (np.array(each) for each in zip(*rows, strict=True))
    theirs = sklearn.metrics.jaccard_score(
        targets_NC, predicted_NC, average="samples", zero_division=1.0
    )
    found_N = jaccard(predicted_NC, targets_NC)
    assert found_N.dtype == np.float32
    assert found_N.mean() == pytest.approx(theirs, abs=1e-6)
    assert (found_N[~predicted_NC.any(1) & ~targets_NC.any(1)] == 1).all()


def test_predictions_of_several_models_are_compared_with_the_same_targets():
    predicted_MNC = np.array([[[1, 0], [1, 1]], [[0, 0], [0, 1]]], np.bool_)
    targets_NC = np.array([[1, 0], [0, 1]], np.bool_)
    assert jaccard(predicted_MNC, targets_NC).tolist() == [[1, 0.5], [0, 1]]


def test_entropy_and_disagreement_are_those_of_each_label_as_two_classes():
    probs_SNC = torch.from_numpy(np.random.default_rng(0).random((3, 20, 4), np.float32))
    probs_SNC[:, 0] = torch.tensor([0.0, 1.0, 0.5, 0.25])
    sides = torch.stack([probs_SNC, 1 - probs_SNC], dim=3)  # SNC2
    expected = [score(sides[:, :, label]) for label in range(4)]
    entropy_NC = binary_entropy(probs_SNC.mean(0))
    for label, each in enumerate(expected):
        torch.testing.assert_close(entropy_NC[:, label], each.entropy_N, atol=1e-5, rtol=0)
    found_N = binary_disagreement(probs_SNC, binary_entropy(probs_SNC))
    mean_N = torch.stack([each.disagreement_N for each in expected]).mean(0)
    torch.testing.assert_close(found_N, mean_N, atol=1e-5, rtol=0)
    assert found_N[0] == 0
