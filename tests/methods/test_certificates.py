import numpy as np
import pytest
from scipy.stats import binom

from umc_ray.errors import DataError
from umc_ray.methods.certificates import THRESHOLDS, certify, exact_interval, upper_bound


@pytest.mark.parametrize(("errors", "n"), [(0, 20), (3, 50), (49, 50)])
def test_at_the_bound_so_few_errors_have_the_probability_of_the_risk(errors, n):
    assert binom.cdf(errors, n, upper_bound(errors, n, 0.05)) == pytest.approx(0.05)


def test_the_bound_is_1_without_samples_or_when_all_are_wrong():
    assert upper_bound(0, 0, 0.05) == upper_bound(7, 7, 0.05) == 1.0


def test_the_rule_of_three():
    assert upper_bound(0, 100, 0.05) == pytest.approx(3 / 100, abs=1e-3)


def test_the_lowest_valid_threshold_is_returned():
    top_prob_N = np.repeat([0.55, 0.85, 0.97], [50, 100, 100])
    right_N = np.ones(250, dtype=bool)
    right_N[:25] = False  # half of the uncertain ones are wrong
    certificate = certify(top_prob_N, right_N, max_error=0.05, confidence=0.95)
    assert (
        certificate.threshold,
        certificate.audits,
        certificate.accepted,
        certificate.errors,
    ) == (0.6, 250, 200, 0)
    assert certificate.bound == pytest.approx(1 - (0.05 / len(THRESHOLDS)) ** (1 / 200))


@pytest.mark.parametrize(("n", "certified"), [(98, False), (99, True)])
def test_99_audits_without_an_error_certify_five_percent(n, certified):
    certificate = certify(np.full(n, 0.999), np.ones(n, dtype=bool), 0.05, 0.95)
    assert (certificate is not None) == certified


def test_the_certified_bound_fails_no_more_often_than_the_risk():
    """The worst case: labels are right slightly less often than their probability says."""
    rng = np.random.default_rng(0)
    violations = 0
    for _ in range(400):
        top_prob_N = rng.uniform(0.5, 1, 800)
        certificate = certify(top_prob_N, rng.random(800) < top_prob_N - 0.01, 0.1, 0.9)
        if certificate is not None:
            error = 1 - (certificate.threshold + 1) / 2 + 0.01  # mean above the threshold
            violations += error > 0.1
    assert violations <= 40


def test_each_sample_needs_an_answer():
    with pytest.raises(DataError, match="probabilities for"):
        certify(np.zeros(3), np.zeros(2, dtype=bool), 0.1, 0.9)


@pytest.mark.parametrize(
    ("errors", "n", "published"),
    [(1, 10, (0.0025, 0.4450)), (0, 10, (0, 0.3085)), (10, 10, (0.6915, 1)), (0, 0, (0, 1))],
)
def test_the_exact_interval_agrees_with_published_tables(errors, n, published):
    assert exact_interval(errors, n) == pytest.approx(published, abs=5e-5)
