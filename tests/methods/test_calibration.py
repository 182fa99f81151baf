import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss

from umc_ray.errors import DataError
from umc_ray.methods.calibration import (
    brier,
    expected_calibration_error,
    fit_temperature,
    reliability,
)


def drawn(n, true_temperature, seed=0):
    """Logits whose labels are drawn from softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits_NC = rng.normal(scale=3, size=(n, 4))
    probs_NC = softmax(logits_NC / true_temperature, axis=1)
    labels_N = (probs_NC.cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits_NC, labels_N


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true_temperature):
    logits_NC, labels_N = drawn(4000, true_temperature)
    assert fit_temperature(logits_NC, labels_N) == pytest.approx(true_temperature, rel=0.08)


def test_weights_are_counts_of_samples():
    logits_NC, labels_N = drawn(50, 2.0)
    weights_N = np.arange(50) % 3
    repeated = np.repeat(np.arange(50), weights_N)
    by_weight = fit_temperature(logits_NC, labels_N, weights_N)
    assert by_weight == pytest.approx(
        fit_temperature(logits_NC[repeated], labels_N[repeated]), rel=1e-3
    )


def test_a_few_perfect_answers_do_not_make_it_certain():
    logits_NC = 4 * np.eye(3)
    alone = fit_temperature(logits_NC, np.arange(3))
    assert 0.2 < alone < 1
    assert fit_temperature(np.tile(logits_NC, (10_000, 1)), np.tile(np.arange(3), 10_000)) < alone


def test_wrong_answers_heat_up_to_the_bound_at_most():
    logits_NC = 50 * np.eye(3)[np.zeros(3000, int)]
    assert fit_temperature(logits_NC, np.ones(3000, int)) == pytest.approx(20, rel=1e-2)


def test_without_labels_the_temperature_is_one():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == pytest.approx(1, abs=1e-3)


def test_the_calibration_error_of_two_bins_by_hand():
    # bin (.6, .8]: confidence .7, .8, one of two right; bin (.8, 1]: .9, right
    probs_NC = np.array([[0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    labels_N = np.array([0, 0, 0])
    expected = 2 / 3 * abs(0.5 - 0.75) + 1 / 3 * abs(1 - 0.9)
    assert expected_calibration_error(probs_NC, labels_N, bins=5) == pytest.approx(expected)


def test_reliability_leaves_empty_bins_out():
    found = reliability(np.array([0.3, 0.95, 0.93]), np.array([False, True, False]), bins=10)
    assert found.count_K == [1, 2]
    assert found.accuracy_K == [0, 0.5]
    assert found.confidence_K == pytest.approx([0.3, 0.94])


def test_the_calibrated_are_better_calibrated():
    logits_NC, labels_N = drawn(3000, 3.0)
    temperature = fit_temperature(logits_NC, labels_N)
    raw, scaled = (softmax(logits_NC / t, axis=1) for t in (1, temperature))
    assert expected_calibration_error(raw, labels_N) > 0.15
    assert expected_calibration_error(scaled, labels_N) < 0.04
    assert brier(scaled, labels_N) < brier(raw, labels_N)


def test_brier_equals_scikit_learns():
    logits_NC, labels_N = drawn(40, 1.0)
    probs_NC = softmax(logits_NC, axis=1)
    expected = brier_score_loss(labels_N, probs_NC, labels=range(4), scale_by_half=False)
    assert brier(probs_NC, labels_N) == pytest.approx(expected)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="3 rows of class values but 2 labels"):
        brier(np.full((3, 2), 0.5), np.zeros(2, int))
    with pytest.raises(DataError, match="must be 0 to 1, found 0 to 2"):
        fit_temperature(np.zeros((2, 2)), np.array([0, 2]))
