"""Robustness scores of utilities that are counted by hand."""

import numpy as np
import pytest

from umc_ray.methods.robustness import robustness_score

CLEAN = np.array([1.0] * 80 + [0.0] * 20)


def test_the_score_is_the_mean_utility_by_the_clean_one():
    half = np.array([1.0] * 40 + [0.0] * 60)
    value, low, high = robustness_score(CLEAN, [CLEAN, half], [np.ones(50)])
    assert value == pytest.approx((0.8 + 0.4 + 1.0) / 3 / 0.8)
    assert low < value < high


def test_corruptions_that_change_nothing_keep_everything_for_sure():
    assert robustness_score(CLEAN, [CLEAN, CLEAN], []) == pytest.approx((1, 1, 1))
    _, low, high = robustness_score(CLEAN, [], [CLEAN])  # other samples of the same quality
    assert low < 0.95 < 1.05 < high


def test_the_interval_holds_the_truth_of_simulated_models():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(40):
        clean_N, shifted_M = rng.random(120) < 0.8, rng.random(90) < 0.6
        _, low, high = robustness_score(clean_N.astype(float), [], [shifted_M.astype(float)])
        inside += low <= 0.75 <= high
    assert inside >= 34


def test_nothing_has_no_score():
    assert robustness_score(CLEAN, [], []) is None
    assert robustness_score(np.zeros(5), [CLEAN[:5]], []) is None
    assert robustness_score(CLEAN[:0], [CLEAN[:0]], []) is None
