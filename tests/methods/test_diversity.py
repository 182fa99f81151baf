"""Coverage and diversity against brute force and known values. Suffixes as in the module."""

import numpy as np
import pytest

from umc_ray.methods import diversity as module
from umc_ray.methods.diversity import (
    coverage,
    covered,
    novelty,
    vendi,
)


def points(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize(("labeled", "neighbors"), [(40, 5), (40, 1), (1500, 3), (3, 5)])
def test_a_point_is_covered_in_the_ball_of_a_labeled_one(labeled, neighbors):
    x_ND, labeled_LD = points(300, 4, 0), points(labeled, 4, 1)
    distances_LL = np.linalg.norm(labeled_LD[:, None] - labeled_LD[None], axis=2)
    radii_L = np.sort(distances_LL, axis=1)[:, min(neighbors, labeled - 1)]
    distances_NL = np.linalg.norm(x_ND[:, None] - labeled_LD[None], axis=2)
    expected_N = (distances_NL <= radii_L).any(axis=1)
    assert 0 < expected_N.sum() < 300
    np.testing.assert_array_equal(covered(x_ND, labeled_LD, neighbors), expected_N)


def test_one_labeled_point_covers_nothing_and_none_covers_nothing():
    x_ND = points(5, 3, 0)
    assert not covered(x_ND, x_ND[:1]).any()
    assert not covered(x_ND, x_ND[:0]).any()
    assert covered(x_ND[:0], x_ND).shape == (0,)


def test_coverage_is_the_share_of_a_sample_where_there_are_many_points(monkeypatch):
    x_ND, labeled_LD = points(2000, 3, 0), points(60, 3, 1)
    exact = covered(x_ND, labeled_LD).mean()
    assert coverage(x_ND, labeled_LD)[0] == exact
    monkeypatch.setattr(module, "MAX_PAIRS", 60 * 400)
    sizes = []
    monkeypatch.setattr(
        module, "covered", lambda *both: sizes.append(len(both[0])) or covered(*both)
    )
    found = [coverage(x_ND, labeled_LD, seed=seed) for seed in range(30)]
    assert sizes == [400] * 30
    assert len({value for value, _, _ in found}) > 1
    assert sum(low <= exact <= high for _, low, high in found) >= 27
    with pytest.raises(ValueError, match="no points"):
        coverage(x_ND[:0], labeled_LD)


def test_novelty_is_the_share_that_is_not_covered():
    old_LD = points(200, 4, 0)
    new_ND = np.concatenate([old_LD[:30], points(10, 4, 1) + 50])
    value, low, high = novelty(new_ND, old_LD)
    assert value == pytest.approx(0.25)
    assert 0.13 < low < 0.25 < high < 0.42
    with pytest.raises(ValueError, match="no points"):
        novelty(new_ND[:0], old_LD)


def test_points_at_right_angles_count_each_and_copies_count_once():
    axes_ND = np.eye(6, dtype=np.float32)
    assert vendi(axes_ND)[0] == pytest.approx(6)
    assert vendi(np.repeat(axes_ND[:1] * 3, 20, axis=0)) == pytest.approx((1, 1, 1))
    assert vendi(np.repeat(axes_ND[:2], 50, axis=0))[0] == pytest.approx(2)


@pytest.mark.parametrize("n", [7, 60])
def test_vendi_is_the_entropy_of_the_similarities(n):
    x_ND = points(n, 12, 2)
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    shares_N = np.linalg.eigvalsh(unit_ND @ unit_ND.T / n)
    shares_N = shares_N[shares_N > 1e-7]
    expected = np.exp(-(shares_N * np.log(shares_N)).sum())
    value, low, high = vendi(x_ND)
    assert value == pytest.approx(expected, abs=1e-3)
    assert low <= value <= high


def test_the_interval_of_vendi_holds_the_value_of_many_points():
    scale_D = np.linspace(3, 0.3, 8, dtype=np.float32)
    truth = vendi(points(20_000, 8, 3) * scale_D)[0]
    found = [vendi(points(400, 8, seed) * scale_D) for seed in range(10, 60)]
    assert 42 <= sum(low <= truth <= high for _, low, high in found) <= 50


def test_no_points_have_no_diversity():
    with pytest.raises(ValueError, match="no points"):
        vendi(points(0, 3, 0))
