"""What a GPU computes, on a CPU: the same as numpy does."""

import numpy as np
import pytest
import torch

from umc_ray.methods import balls
from umc_ray.methods.diversity import covered, squared_radii
from umc_ray.methods.prdc import prdc_once


def points(n, seed, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 6)) + shift).astype(np.float32)


@pytest.mark.parametrize("block", [4096, 50])
@pytest.mark.parametrize("labeled", [0, 1, 4, 120])
def test_the_same_points_are_covered(monkeypatch, block, labeled):
    monkeypatch.setattr(balls, "_BLOCK", block)
    x_ND, labeled_LD = points(300, 0, 0.5), points(labeled, 1)
    monkeypatch.setattr(balls, "gpu", lambda: None)
    expected_N = covered(x_ND, labeled_LD)
    np.testing.assert_array_equal(covered(x_ND, labeled_LD, device="cpu"), expected_N)
    radii_L = balls.squared_radii(torch.from_numpy(labeled_LD), 5)
    np.testing.assert_allclose(radii_L, squared_radii(labeled_LD), rtol=1e-4)
    if labeled == 120:
        assert 0.2 < expected_N.mean() < 0.98


def test_precision_recall_density_and_coverage_are_the_same(monkeypatch):
    monkeypatch.setattr(balls, "_BLOCK", 50)
    monkeypatch.setattr(balls, "gpu", lambda: None)
    real_ND, synthetic_MD = points(170, 2), points(120, 3, 0.4)
    found = prdc_once(real_ND, synthetic_MD, 3, device="cpu")
    assert found == pytest.approx(prdc_once(real_ND, synthetic_MD, 3))
    assert covered(points(0, 0), real_ND, device="cpu").shape == (0,)
