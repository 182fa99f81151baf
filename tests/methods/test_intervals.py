"""Suffixes: N samples."""

import numpy as np
import pytest

from umc_ray.methods.intervals import bootstrap_interval, mean_interval, wilson_interval


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_as_published(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # statsmodels.stats.proportion.proportion_confint(right, n, method="wilson"), at z = 1.95996
        (5, 10, 0.236593, 0.763407),
        (9, 10, 0.595850, 0.982124),
        (50, 100, 0.403832, 0.596168),
        (10, 10, 0.722467, 1.0),
    ],
)
def test_wilson_intervals_are_those_of_statsmodels(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-5)


def test_the_mean_of_zeros_and_ones_has_the_interval_of_a_share():
    values_N = np.array([1, 1, 0, 1, 0, 1, 1], np.float32)
    assert mean_interval(values_N) == (5 / 7, *wilson_interval(5, 7))
    assert mean_interval(values_N.astype(np.bool_)) == mean_interval(values_N)


def test_the_mean_of_other_values_is_bootstrapped():
    rng = np.random.default_rng(0)
    values_N = rng.beta(2, 3, 400).astype(np.float32)
    mean, low, high = mean_interval(values_N)
    assert mean == pytest.approx(values_N.mean(), abs=1e-6)
    half = 1.96 * values_N.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.004)


def test_an_interval_is_the_same_whenever_it_is_taken():
    values_N = np.random.default_rng(1).random(50)
    first = bootstrap_interval(50, lambda rows_N: float(np.median(values_N[rows_N])))
    np.random.seed(7)  # what others draw does not matter
    assert bootstrap_interval(50, lambda rows_N: float(np.median(values_N[rows_N]))) == first


def test_an_interval_holds_its_value_also_where_no_replicate_reaches_it():
    values_N = np.arange(20.0)
    value, low, high = bootstrap_interval(
        20, lambda rows_N: float(len(np.unique(values_N[rows_N])))
    )
    assert (value, high) == (20, 20)
    assert low < 14


def test_one_sample_has_an_interval():
    assert mean_interval(np.array([0.25])) == (0.25, 0.25, 0.25)
    mean, low, high = mean_interval(np.array([1.0]))
    assert mean == 1
    assert 0 < low < high
