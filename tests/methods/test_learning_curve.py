import numpy as np
import pytest

from umc_ray.methods.learning_curve import fit_power_laws

LABELS = [20, 40, 80, 160, 320, 640]


def curve(limit, gap, exponent, noise=0.0, seed=0):
    luck = np.random.default_rng(seed).normal(0, noise, len(LABELS))
    return [limit - gap * n**-exponent + e for n, e in zip(LABELS, luck, strict=True)]


def fitted(utility, errors=None):
    return fit_power_laws(LABELS, utility, errors or [0.0] * len(utility))


def test_a_power_law_is_continued():
    laws = fitted(curve(0.95, 1.5, 0.5))
    # 0.95 - 1.5 / sqrt(n) = 0.91 at n = 1406; 0.9 at 900
    for target, labels in ((0.9, 900), (0.91, 1406)):
        found = laws.labels_for(target)
        assert found.low < labels < found.high
        assert found.middle == pytest.approx(labels, rel=0.15)
    limit = laws.limit()
    assert limit.low < 0.95 < limit.high


def test_a_target_above_the_limit_takes_no_finite_number_of_labels():
    laws = fitted(curve(0.8, 1.5, 1.0))
    assert laws.limit().high < 0.85
    found = laws.labels_for(0.9)
    assert (found.low, found.middle, found.high) == (np.inf,) * 3


def test_a_target_that_was_passed_lies_within_the_curve():
    found = fitted(curve(0.95, 1.5, 0.5)).labels_for(0.85)  # at 225 labels
    assert found.low < 225 < found.high < 640


def test_noise_widens_the_interval():
    calm, noisy = (fitted(curve(0.95, 1.5, 0.5, noise)).labels_for(0.89) for noise in (0, 0.01))
    assert calm.high / calm.low < noisy.high / noisy.low


def test_few_audits_say_less_than_many():
    utility = curve(0.95, 1.5, 0.5)
    few, many = (
        fitted(utility, [scale / n**0.5 for n in LABELS]).labels_for(0.9) for scale in (1.5, 0.15)
    )
    assert few.low < many.low < 900
    assert few.high > many.high


def test_few_points_and_a_falling_curve_say_nothing():
    assert fit_power_laws(LABELS[:4], [0.5, 0.6, 0.7, 0.75], [0.0] * 4) is None
    assert fitted([0.9, 0.85, 0.8, 0.75, 0.7, 0.65]) is None


def test_the_same_curve_gives_the_same_answer():
    utility = curve(0.95, 1.5, 0.5, 0.01)
    assert fitted(utility).labels_for(0.9) == fitted(utility).labels_for(0.9)
