import numpy as np
import pytest

from umc_ray.methods.class_weights import balanced


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
