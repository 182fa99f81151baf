"""Normalized entropy against known values and simulation."""

import numpy as np
import pytest

from umc_ray.methods.balance import balance


def test_even_groups_are_balanced_and_one_group_is_not():
    value, low, high = balance(np.arange(1000) % 4, 4)
    assert value == pytest.approx(1)
    assert 0.99 < low < high == 1
    one = balance(np.zeros(50, np.int64), 3)
    assert one == (0, 0, 0)
    assert not np.signbit(one).any()  # which reads as -0.0%


@pytest.mark.parametrize("sizes", [(30, 31), (20, 21, 19), (500, 520), (3, 2)])
def test_groups_that_are_not_quite_even_never_become_so(sizes):
    value, low, high = balance(np.repeat(np.arange(len(sizes)), sizes), len(sizes))
    shares_G = np.array(sizes) / sum(sizes)
    plain = -np.dot(shares_G, np.log(shares_G)) / np.log(len(sizes))
    assert plain < value < 1
    assert low <= value <= high


def test_groups_that_are_empty_count():
    halves_N = np.arange(100_000) % 2
    assert balance(halves_N, 4)[0] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("shares_G", [(0.25,) * 4, (0.7, 0.2, 0.08, 0.02)])
def test_the_interval_holds_the_entropy_of_what_samples_are_drawn_from(shares_G):
    truth = -np.dot(shares_G, np.log(shares_G)) / np.log(4)
    rng = np.random.default_rng(0)
    found = np.array([balance(rng.choice(4, 150, p=shares_G), 4) for _ in range(100)])
    inside = ((found[:, 1] <= truth + 1e-9) & (truth - 1e-9 <= found[:, 2])).mean()
    assert inside >= 0.88
    assert (found[:, 1] > 0.5 * truth).all()
    assert found[:, 0].mean() == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize(("n", "groups"), [(0, 2), (5, 1)])
def test_nothing_has_no_balance(n, groups):
    with pytest.raises(ValueError, match=f"found {n} of {groups}"):
        balance(np.zeros(n, np.int64), groups)
