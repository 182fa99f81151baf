import numpy as np
import pytest

from umc_ray.methods.costs import PRIOR_ANSWERS, expected_seconds


def test_equal_times_are_the_estimate():
    assert expected_seconds([4.0, 4.0, 4.0], [0, 0, 1], 2) == pytest.approx([4.0, 4.0])


def test_domains_with_many_answers_get_their_own_mean():
    rng = np.random.default_rng(0)
    times = np.concatenate(
        [rng.lognormal(np.log(3), 0.5, 2000), rng.lognormal(np.log(9), 0.5, 2000)]
    )
    expected = expected_seconds(times, np.repeat([0, 1], 2000), 2)
    assert expected == pytest.approx([3 * np.exp(0.125), 9 * np.exp(0.125)], rel=0.05)


def test_few_answers_are_shrunk_towards_the_overall_mean():
    times, domain_keys = [2.0] * 30 + [32.0] * 10, [0] * 30 + [1] * 10
    few = expected_seconds(times, domain_keys, 3)
    overall = np.exp((30 * np.log(2) + 10 * np.log(32)) / 40)  # 4
    halfway = np.exp((10 * np.log(32) + PRIOR_ANSWERS * np.log(overall)) / (10 + PRIOR_ANSWERS))
    assert few[1:] == pytest.approx([halfway, overall])


def test_an_outlier_changes_little():
    rng = np.random.default_rng(1)
    times = rng.lognormal(np.log(5), 0.4, 40)
    usual = expected_seconds(times, [0] * 40, 1)[0]
    times[7] = 3600.0
    assert usual == pytest.approx(expected_seconds(times, [0] * 40, 1)[0], rel=0.1)
    assert times.mean() > 10 * usual


def test_times_have_a_minimum_of_a_tenth_of_a_second():
    assert expected_seconds([0.0, 0.0], [0, 0], 1) == pytest.approx([0.1])
