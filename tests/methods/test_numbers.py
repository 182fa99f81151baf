"""Suffixes: S specialists, N samples, B repetitions."""

import numpy as np
import pytest
import scipy.stats
import torch

from umc_ray.methods import numbers


def test_members_mix_by_the_plain_mean_of_their_moments():
    """The mean and the variance of a mixture of Gaussians, by many draws from it."""
    rng, means, deviations = np.random.default_rng(0), np.array([-0.2, 0.3]), np.array([0.1, 0.3])
    drawn = rng.normal(np.repeat(means, 200_000), np.repeat(deviations, 200_000))
    members_S2 = numbers.moments(torch.tensor(means), torch.tensor(deviations**2))
    mean, variance = numbers.mean_and_variance(members_S2.mean(0))
    assert (float(mean), float(variance)) == pytest.approx((drawn.mean(), drawn.var()), abs=1e-3)


def test_a_product_is_that_of_the_densities():
    means, deviations, weights = [-0.1, 0.25], [0.1, 0.2], [0.7, 0.9]
    members_S12 = numbers.moments(torch.tensor(means), torch.tensor(deviations) ** 2)[:, None]
    found_12 = numbers.gaussian_product(members_S12, torch.tensor(weights))
    mean, variance = (float(each) for each in numbers.mean_and_variance(found_12[0]))
    x = np.linspace(-2, 2, 40_001)
    members = zip(means, deviations, weights, strict=True)
    logs = [w * scipy.stats.norm.logpdf(x, m, d) for m, d, w in members]
    density = np.exp(sum(logs))
    density /= density.sum()
    assert mean == pytest.approx(density @ x, abs=1e-4)
    assert variance == pytest.approx(density @ x**2 - (density @ x) ** 2, abs=1e-4)


def test_outputs_are_those_of_their_mean_and_variance():
    mean, variance = np.array([-0.5, 0.0, 0.4]), np.array([0.011, 0.06, 0.5])
    found = numbers.of_outputs(torch.from_numpy(numbers.to_outputs(mean, variance)))
    np.testing.assert_allclose(found[0], mean, atol=1e-6)
    np.testing.assert_allclose(found[1], variance, rtol=1e-4)


def test_the_loss_is_that_of_the_density_in_a_hundredth_of_the_range():
    mean, variance, y = torch.tensor([0.1]), torch.tensor([0.04]), torch.tensor([0.3])
    expected = -scipy.stats.norm.logpdf(0.3, 0.1, 0.2) - np.log(numbers.RESOLUTION)
    assert float(numbers.gaussian_loss(mean, variance, y)) == pytest.approx(expected, rel=1e-5)
    surest = torch.tensor([numbers.LEAST_VARIANCE])
    assert float(numbers.gaussian_loss(mean, surest, mean)) == 0


def test_a_constant_correlates_with_nothing():
    found = numbers.correlations(np.full(20, 0.3), np.arange(20.0))
    assert found == {"Pearson": (0, 0, 0), "Spearman": (0, 0, 0)}


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(20):
        x_N = rng.normal(size=60)
        y_N = 0.6 * x_N + 0.8 * rng.normal(size=60)
        value, low, high = numbers.correlations(x_N, y_N)["Pearson"]
        assert value == pytest.approx(scipy.stats.pearsonr(x_N, y_N).statistic, abs=1e-9)
        hits += low <= 0.6 <= high
    assert 17 <= hits <= 20


def test_the_interval_of_many_samples_is_that_of_fisher():
    """Source: Fisher 1915: artanh r is normal with variance 1 / (N - 3)."""
    rng = np.random.default_rng(0)
    x_N = rng.normal(size=2000)
    y_N = 0.6 * x_N + 0.8 * rng.normal(size=2000)
    value, low, high = numbers.correlations(x_N, y_N)["Pearson"]
    expected = np.tanh(np.arctanh(value) + np.array([-1.96, 1.96]) / np.sqrt(1997))
    assert (low, high) == pytest.approx(expected.tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("votes", "mean"),
    [([2], 2), ([1, 2], 1.5), ([5, 1, 2], 2), ([1, 2, 4, 90], 3), ([0, 3, 4, 5, 6, 90], 4.5)],
)
def test_votes_far_from_the_others_do_not_move_the_consensus(votes, mean):
    assert numbers.trimmed_mean(np.array(votes, float)) == mean


def test_equal_votes_are_their_own_mean():
    assert numbers.trimmed_mean(np.array([0.1] * 3)) == 0.1


def test_calibration_finds_the_scale_and_the_least_variance():
    rng = np.random.default_rng(0)
    fitted_N = numbers.FITTED_VARIANCE + rng.uniform(0, 0.05, 4000)
    true_N = 3 * (fitted_N - numbers.FITTED_VARIANCE) + 0.02
    targets_N = 0.1 + np.sqrt(true_N) * rng.normal(size=4000)
    scale, least = numbers.fit_variances(np.full(4000, 0.1), fitted_N, targets_N, np.ones(4000))
    assert (scale, least) == pytest.approx((3, 0.02), rel=0.15)
    nothing = np.zeros(0)
    kept = numbers.fit_variances(nothing, nothing, nothing, nothing)
    assert kept == (1, numbers.FITTED_VARIANCE)
