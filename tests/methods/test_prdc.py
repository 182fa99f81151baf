"""Precision, recall, density and coverage against their definitions."""

import numpy as np
import pytest

from umc_ray.methods import prdc as module
from umc_ray.methods.prdc import prdc, prdc_once


def points(n, seed, shift=0.0, d=3):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def by_definition(real_ND, synthetic_MD, k):
    def distances(a_ND, b_MD):
        return np.linalg.norm(a_ND[:, None] - b_MD[None], axis=2)

    real_N = np.sort(distances(real_ND, real_ND), axis=1)[:, k]
    synthetic_M = np.sort(distances(synthetic_MD, synthetic_MD), axis=1)[:, k]
    between_NM = distances(real_ND, synthetic_MD)
    return (
        (between_NM <= real_N[:, None]).any(axis=0).mean(),
        (between_NM <= synthetic_M[None]).any(axis=1).mean(),
        (between_NM <= real_N[:, None]).sum(axis=0).mean() / k,
        (between_NM.min(axis=1) <= real_N).mean(),
    )


@pytest.mark.parametrize("block", [1024, 50])
def test_they_equal_their_definitions(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    real_ND, synthetic_MD = points(150, 0), points(120, 1, shift=0.8)
    found = prdc_once(real_ND, synthetic_MD, 3)
    np.testing.assert_allclose(found, by_definition(real_ND, synthetic_MD, 3), atol=1e-9)
    assert 0.1 < found[0] < 0.95


def test_samples_of_one_distribution_are_as_good_as_real_ones():
    found = prdc(points(600, 0), points(600, 1), 200)
    assert found.n == 200
    for value, low, high in (found.precision, found.recall, found.coverage):
        assert 0.85 < low <= value <= high <= 1
    assert found.density[0] == pytest.approx(1, abs=0.15)


def test_far_samples_are_as_bad_as_can_be():
    found = prdc(points(200, 0), points(200, 1, shift=50), 100)
    zero = (0, 0, 0)
    assert (found.precision, found.recall, found.density, found.coverage) == (zero,) * 4


def test_the_intervals_hold_the_value_of_other_samples_of_the_same_size():
    truth = np.mean([prdc_once(points(60, s), points(60, s + 1, 0.7)) for s in range(0, 400, 2)], 0)
    drawn = [prdc(points(180, s), points(180, s + 1, 0.7), 60) for s in range(1000, 1040, 2)]
    for i, name in enumerate(("precision", "recall", "density", "coverage")):
        inside = [getattr(each, name)[1] <= truth[i] <= getattr(each, name)[2] for each in drawn]
        assert sum(inside) >= 16


def test_too_few_samples_are_an_error():
    with pytest.raises(ValueError, match="twice as many, found 90"):
        prdc(points(200, 0), points(90, 1), 50)
