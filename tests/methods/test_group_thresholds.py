"""Thresholds by group, against all thresholds tried one by one."""

import numpy as np
import pytest

from umc_ray.methods.group_thresholds import LEAST, SHRINKAGE, group_shift


def drawn(seed, n=400):
    """Log-odds of two groups, of which the second one's are too low by 1."""
    rng = np.random.default_rng(seed)
    positive_N, own_N = rng.random(n) < 0.4, rng.random(n) < 0.3
    log_odds_N = rng.normal(np.where(positive_N, 1.0, -1.0)) - own_N
    return log_odds_N, positive_N, rng.choice([0.5, 1.0], n), own_N


def rates(predicted_N, positive_N, weights_N):
    return [
        np.average(predicted_N[side_N], weights=weights_N[side_N])
        for side_N in (positive_N, ~positive_N)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_rates_of_a_group_come_nearest_to_those_of_all(seed):
    log_odds_N, positive_N, weights_N, own_N = drawn(seed)
    own = log_odds_N[own_N], positive_N[own_N], weights_N[own_N]
    wanted = rates(log_odds_N > 0, positive_N, weights_N)
    values = np.sort(own[0])
    tried = [0.0, *((values[1:] + values[:-1]) / 2)]
    apart = [np.sum(np.subtract(rates(own[0] > t, *own[1:]), wanted) ** 2) for t in tried]
    cases = min(w.sum() ** 2 / (w**2).sum() for w in (own[2][own[1]], own[2][~own[1]]))
    expected = -tried[int(np.argmin(apart))] * cases / (cases + SHRINKAGE)
    found = group_shift(log_odds_N, positive_N, weights_N, own_N)
    assert found == pytest.approx(expected)
    assert found > 0.2


def test_a_group_that_is_like_all_or_has_few_samples_keeps_the_common_threshold():
    log_odds_N, positive_N, weights_N, own_N = drawn(0)
    assert group_shift(log_odds_N, positive_N, weights_N, np.ones(len(own_N), np.bool_)) == 0
    few = np.flatnonzero(own_N & positive_N)[: LEAST - 1]
    few_N = own_N & ~positive_N
    few_N[few] = True
    assert group_shift(log_odds_N, positive_N, np.ones(len(own_N)), few_N) == 0
