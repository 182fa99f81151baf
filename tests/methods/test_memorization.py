"""The guard against copies: by hand, and on real digits, copied with and without changes."""

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from umc_ray.encoders.gradients import GradientFeatures
from umc_ray.methods.memorization import (
    MemorizationGuard,
    Nearest,
    distance_to_reals,
    joint_limits,
)

SIDE = 32


def points(n, seed, d=4):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("is_own", [False, True])
def test_the_two_nearest_equal_a_full_search(is_own):
    real_RD = points(1200, 0)
    x_ND = real_RD[:1100] if is_own else points(1100, 1)
    distances_NR = np.linalg.norm(x_ND[:, None] - real_RD[None], axis=2)
    if is_own:
        np.fill_diagonal(distances_NR, np.inf)
    found = Nearest.of(x_ND, real_RD, np.arange(1100) if is_own else None)
    expected_N2 = np.sort(distances_NR, axis=1)[:, :2]
    np.testing.assert_allclose(found.first_N, expected_N2[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found.second_N, expected_N2[:, 1], rtol=1e-4)
    np.testing.assert_array_equal(found.rows_N, distances_NR.argmin(axis=1))


def test_a_copy_has_ratio_0_even_of_a_sample_that_is_there_twice():
    real_RD = np.array([[0, 0], [0, 0], [3, 4], [50, 50]], np.float32)
    found = Nearest.of(np.array([[0, 0], [3, 4], [1.5, 2]], np.float32), real_RD)
    np.testing.assert_allclose(found.ratio_N, [0, 0, 1])


def test_one_real_sample_is_too_few_to_compare_with():
    with pytest.raises(ValueError, match="found 1"):
        Nearest.of(points(2, 0), points(1, 1))


def test_the_limits_of_several_spaces_share_the_false_alarms():
    ratios_SH = np.random.default_rng(0).random((3, 2000)).astype(np.float32)
    limits_S = np.array(joint_limits(ratios_SH))
    assert (ratios_SH < limits_S[:, None]).any(axis=0).mean() == pytest.approx(0.04, abs=0.002)
    assert joint_limits(ratios_SH[[0, 0]])[0] == pytest.approx(0.04, abs=0.01)


def test_distances_are_in_units_of_the_real_samples_own():
    line_RD = np.arange(50, dtype=np.float32)[:, None] * 2
    distance_N, farthest = distance_to_reals(np.array([[0.5], [-6]], np.float32), line_RD)
    np.testing.assert_allclose(distance_N, [0.25, 3])
    assert farthest == pytest.approx(1)


@pytest.fixture(scope="module")
def digits():
    """Real ones, and others that were held out; as a guard of two spaces sees them."""
    gray_NHW = (255 - load_digits().images * 255 / 16).astype(np.uint8)
    images = [
        Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for each in gray_NHW
    ]
    images = [images[row] for row in np.random.default_rng(0).permutation(len(images))]
    return images[:1200], images[1200:]


def spaces(images):
    import torch

    pixels_NHW = np.stack([np.asarray(each, np.float32) for each in images]) / 255
    gradients_ND = GradientFeatures()(torch.from_numpy(pixels_NHW)[:, None]).numpy()
    return gradients_ND, pixels_NHW.reshape(len(images), -1)


@pytest.fixture(scope="module")
def guard(digits):
    return MemorizationGuard.fit(spaces(digits[0]))


def copied(guard, images):
    return float((guard.copy_ratio(spaces(images)) < 1).mean())


def noisy(image):
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(int(pixels.sum())).normal(0, 0.05 * 255, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def test_all_exact_copies_are_caught_and_few_others(digits, guard):
    real, held_out = digits
    assert copied(guard, real[:300]) == 1
    assert copied(guard, held_out) <= 0.07


@pytest.mark.parametrize(
    "change",
    [noisy, lambda image: image.filter(ImageFilter.GaussianBlur(1))],
    ids=["light noise", "blur"],
)
def test_most_copies_with_light_noise_or_blur_are_caught(digits, guard, change):
    assert copied(guard, [change(image) for image in digits[0][:300]]) >= 0.85
