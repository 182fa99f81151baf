import numpy as np
import pytest

from umc_ray.methods.class_weights import balanced, reweighed


def test_all_classes_that_occur_weigh_the_same_and_the_mean_stays():
    """Against a loop; class 1 does not occur."""
    rng = np.random.default_rng(0)
    classes_N = rng.choice([0, 2, 3], 50, p=[0.8, 0.15, 0.05])
    weights_N = rng.uniform(0.5, 1.5, 50).astype(np.float32)
    found_N = balanced(weights_N, classes_N)
    assert found_N.dtype == np.float32
    total = sum(weights_N.tolist())
    for i in range(50):
        of_class = sum(w for w, c in zip(weights_N, classes_N, strict=True) if c == classes_N[i])
        assert found_N[i] == pytest.approx(weights_N[i] * total / (3 * of_class), rel=1e-5)
    sums = [found_N[classes_N == c].sum() for c in (0, 2, 3)]
    np.testing.assert_allclose(sums, total / 3, rtol=1e-5)


def test_classes_of_equal_weight_stay_as_they_are():
    weights_N = np.array([1, 3, 2, 2], np.float32)
    np.testing.assert_allclose(balanced(weights_N, np.array([0, 0, 1, 1])), weights_N)


def test_reweighing_makes_classes_as_frequent_in_each_group():
    """Against the formula of Kamiran and Calders; the exponent weakens it."""
    rng = np.random.default_rng(1)
    groups_N, classes_N = rng.choice([0, 1, 3], 80), rng.integers(2, size=80)
    weights_N = rng.uniform(0.5, 1.5, 80).astype(np.float32)

    def total(rows):
        return float(weights_N[rows].sum())

    factors = {}
    for g in (0, 1, 3):
        for c in (0, 1):
            own = (groups_N == g) & (classes_N == c)
            expected = total(groups_N == g) * total(classes_N == c) / weights_N.sum()
            factors[g, c] = expected / total(own)
    found_N = reweighed(weights_N, groups_N, classes_N, 1.0)
    for i in range(80):
        expected = weights_N[i] * factors[groups_N[i], classes_N[i]]
        assert found_N[i] == pytest.approx(expected, rel=1e-5)
    shares = [np.average(classes_N[groups_N == g], weights=found_N[groups_N == g]) for g in (0, 3)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-5)
    half_N = reweighed(weights_N, groups_N, classes_N, 0.5)
    ratio_N = (half_N / weights_N) ** 2 / (found_N / weights_N)
    np.testing.assert_allclose(ratio_N, ratio_N[0], rtol=1e-4)
    assert half_N.sum() == pytest.approx(weights_N.sum(), rel=1e-5)
    np.testing.assert_allclose(reweighed(weights_N, groups_N, classes_N, 0.0), weights_N, rtol=1e-5)
