"""The energy distance against its definition and known values."""

import numpy as np
import pytest

from umc_ray.methods import energy_distance as module
from umc_ray.methods.energy_distance import energy_distance


def points(n, seed, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 3)) + shift).astype(np.float32)


@pytest.mark.parametrize("block", [1024, 7])
def test_it_equals_its_definition(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    x_ND, y_MD = points(40, 0), points(25, 1, shift=0.7)

    def mean_distance(a_ND, b_MD):
        return np.mean([np.linalg.norm(a_D - b_D) for a_D in a_ND for b_D in b_MD])

    expected = 2 * mean_distance(x_ND, y_MD) - mean_distance(x_ND, x_ND) - mean_distance(y_MD, y_MD)
    assert expected > 0.1
    assert energy_distance(x_ND, y_MD) == pytest.approx(expected, abs=1e-4)


def test_two_points_are_twice_their_distance_apart_and_a_set_is_not_apart_from_itself():
    zero_ND, five_MD = np.zeros((1, 2), np.float32), np.array([[3, 4]], np.float32)
    assert energy_distance(zero_ND, five_MD) == pytest.approx(10)
    assert energy_distance(points(30, 0), points(30, 0)) == pytest.approx(0, abs=1e-3)


def test_no_points_are_an_error():
    with pytest.raises(ValueError, match="found 0 and 5"):
        energy_distance(points(0, 0), points(5, 1))
