import numpy as np
import pytest
from scipy.stats import binom

from umc_ray.errors import DataError
from umc_ray.methods.certificates import THRESHOLDS, certify, exact_interval, upper_bound


@pytest.mark.parametrize(("errors", "n"), [(0, 20), (3, 50), (49, 50)])
def test_the_bound_is_the_error_rate_at_which_so_few_errors_are_as_rare_as_the_risk(errors, n):
    assert binom.cdf(errors, n, upper_bound(errors, n, 0.05)) == pytest.approx(0.05)


def test_nothing_is_known_without_samples_or_when_all_are_wrong():
    assert upper_bound(0, 0, 0.05) == upper_bound(7, 7, 0.05) == 1.0


def test_the_rule_of_three():
    assert upper_bound(0, 100, 0.05) == pytest.approx(3 / 100, abs=1e-3)


def test_the_lowest_threshold_that_holds_is_taken():
    top_prob_N = np.repeat([0.55, 0.85, 0.97], [50, 100, 100])
    right_N = np.ones(250, dtype=bool)
    right_N[:25] = False  # of the unsure ones, half are wrong
    found = certify(top_prob_N, right_N, max_error=0.05, confidence=0.95)
    assert (found.threshold, found.audits, found.accepted, found.errors) == (0.6, 250, 200, 0)
    assert found.bound == pytest.approx(1 - (0.05 / len(THRESHOLDS)) ** (1 / 200))


@pytest.mark.parametrize(("n", "certified"), [(98, False), (99, True)])
def test_so_many_audits_without_an_error_certify_five_percent(n, certified):
    found = certify(np.full(n, 0.999), np.ones(n, dtype=bool), 0.05, 0.95)
    assert (found is not None) == certified


def test_the_promise_is_kept_as_often_as_it_says():
    """Labels are right as often as their probability says, less a constant: the worst case."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(400):
        top_prob_N = rng.uniform(0.5, 1, 800)
        found = certify(top_prob_N, rng.random(800) < top_prob_N - 0.01, 0.1, 0.9)
        if found is not None:
            error = 1 - (found.threshold + 1) / 2 + 0.01  # mean over what reaches the threshold
            broken += error > 0.1
    assert broken <= 40


def test_each_sample_needs_its_answer():
    with pytest.raises(DataError, match="probabilities for"):
        certify(np.zeros(3), np.zeros(2, dtype=bool), 0.1, 0.9)


@pytest.mark.parametrize(
    ("errors", "n", "published"),
    [(1, 10, (0.0025, 0.4450)), (0, 10, (0, 0.3085)), (10, 10, (0.6915, 1)), (0, 0, (0, 1))],
)
def test_the_exact_interval_is_that_of_the_tables(errors, n, published):
    assert exact_interval(errors, n) == pytest.approx(published, abs=5e-5)
