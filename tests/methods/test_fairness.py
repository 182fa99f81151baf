import numpy as np
import pytest

from umc_ray.methods.calibration import reliability
from umc_ray.methods.fairness import (
    Outcomes,
    accuracy_gap,
    calibration_error,
    demographic_parity,
    equalized_odds,
    permute,
    representation_gap,
)


def outcomes(groups_N, truth_N, predicted_N, classes):
    return Outcomes(
        np.asarray(groups_N),
        np.eye(classes, dtype=bool)[truth_N],
        np.eye(classes, dtype=bool)[predicted_N],
        np.asarray(truth_N),
    )


def drawn(n, groups, classes, seed, unfair=0.0):
    """Samples whose predictions are wrong for a fifth, and for more of them in group 0."""
    rng = np.random.default_rng(seed)
    groups_N, truth_N = rng.integers(groups, size=n), rng.integers(classes, size=n)
    wrong_N = rng.random(n) < 0.2 + unfair * (groups_N == 0)
    predicted_N = np.where(wrong_N, rng.integers(classes, size=n), truth_N)
    return groups_N, truth_N, predicted_N


def largest(rates):
    return max(rates) - min(rates)


@pytest.mark.parametrize(("groups", "classes"), [(2, 2), (4, 2), (3, 5)])
def test_differences_are_those_of_brute_force(groups, classes):
    groups_N, truth_N, predicted_N = drawn(600, groups, classes, 3, unfair=0.3)
    found = outcomes(groups_N, truth_N, predicted_N, classes)
    own = [groups_N == group for group in range(groups)]
    selected, odds = [], []
    for c in range(classes):
        selected.append(largest([(predicted_N[rows] == c).mean() for rows in own]))
        for cases in (truth_N == c, truth_N != c):
            odds.append(largest([(predicted_N[rows & cases] == c).mean() for rows in own]))
    assert demographic_parity(found).value == pytest.approx(max(selected))
    assert equalized_odds(found).value == pytest.approx(max(odds))
    right_N = (truth_N == predicted_N).astype(float)
    assert accuracy_gap(groups_N, right_N).value == pytest.approx(
        largest([right_N[rows].mean() for rows in own])
    )


def test_of_two_classes_differences_are_those_of_fairlearn():
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    groups_N, truth_N, predicted_N = drawn(300, 4, 2, 5, unfair=0.3)
    found = outcomes(groups_N, truth_N, predicted_N, 2)
    for ours, theirs in (
        (demographic_parity, demographic_parity_difference),
        (equalized_odds, equalized_odds_difference),
    ):
        expected = theirs(truth_N, predicted_N, sensitive_features=groups_N)
        assert ours(found).value == pytest.approx(expected)


def test_a_rate_of_too_few_samples_is_not_compared():
    groups_N = np.repeat([0, 1, 2], [40, 40, 23])
    truth_N = np.r_[np.tile([0, 1], 40), np.zeros(20, int), np.ones(3, int)]
    predicted_N = truth_N.copy()
    predicted_N[-3:] = 0  # all three positives of group 2 are missed
    found = outcomes(groups_N, truth_N, predicted_N, 2)
    assert equalized_odds(found).value == 0
    assert equalized_odds(found, least=3).value == 1
    assert equalized_odds(found, least=50) is None


def test_samples_of_no_group_are_left_out_and_one_group_has_no_difference():
    groups_N, truth_N, predicted_N = drawn(200, 2, 2, 1)
    with_some = outcomes(np.r_[groups_N, [-1] * 50], np.r_[truth_N, [0] * 50],
                         np.r_[predicted_N, [1] * 50], 2)  # fmt: skip
    assert equalized_odds(with_some) == equalized_odds(outcomes(groups_N, truth_N, predicted_N, 2))
    few = outcomes(np.repeat([0, 1, -1], [60, 12, 128]), truth_N, predicted_N, 2)
    assert equalized_odds(few) is None  # what is left out adds to no group
    assert equalized_odds(outcomes(np.full(200, -1), truth_N, predicted_N, 2)) is None
    alone = outcomes(np.zeros_like(groups_N), truth_N, predicted_N, 2)
    assert equalized_odds(alone) is None
    assert demographic_parity(alone) is None


def test_the_noise_floor_covers_fair_predictions_and_not_unfair_ones():
    fair = [equalized_odds(outcomes(*drawn(400, 4, 2, seed), 2)) for seed in range(20)]
    assert sum(each.is_beyond_chance for each in fair) <= 3
    means = [each.floor_mean for each in fair]
    assert np.mean([each.value for each in fair]) == pytest.approx(np.mean(means), abs=0.03)
    unfair = equalized_odds(outcomes(*drawn(400, 4, 2, 0, unfair=0.5), 2))
    assert unfair.is_beyond_chance


def test_intervals_hold_the_true_difference():
    """Group 0 is wrong 0.3 more often, half of which is by another class: 0.15."""
    truth, hits = 0.15, 0
    for seed in range(20):
        found = equalized_odds(outcomes(*drawn(1500, 2, 2, seed, unfair=0.3), 2))
        hits += found.low <= truth <= found.high
    assert hits >= 16


def test_permuted_groups_stay_in_their_stratum():
    groups_N, strata_N = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 0])
    strata = [np.flatnonzero(strata_N == stratum) for stratum in (0, 1)]
    permuted_N = permute(groups_N, strata, np.random.default_rng(0))
    for stratum in (0, 1):
        rows = strata_N == stratum
        assert sorted(permuted_N[rows]) == sorted(groups_N[rows])


def test_representation_compares_shares_with_those_of_the_pool():
    pool_G = np.array([700, 300])
    found = representation_gap(np.array([90, 10]), pool_G)
    assert found.value == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    assert found.is_beyond_chance
    # of 100 labels, a share differs by 1.96 standard errors of a draw without replacement
    assert found.floor == pytest.approx(1.96 * np.sqrt(0.21 / 100 * 0.9), abs=0.02)
    assert not representation_gap(np.array([68, 32]), pool_G).is_beyond_chance
    assert representation_gap(np.array([0, 0]), pool_G) is None


def test_the_calibration_error_of_a_group_is_that_of_all_bins():
    rng = np.random.default_rng(0)
    certainty_N = rng.uniform(0.5, 1, 400)
    right_N = rng.random(400) < certainty_N - 0.2
    value, low, high = calibration_error(certainty_N, right_N)
    assert value == pytest.approx(reliability(certainty_N, right_N).error())
    assert 0.1 < low < 0.2 < high < 0.3
