import pytest
from scipy import stats

from umc_ray.errors import DataError
from umc_ray.methods.seeds import mean_over_seeds, paired_difference, single_difference


def test_a_mean_has_the_interval_of_student():
    # Variance of 1, 2, 3 is 1; t of 2 degrees of freedom is 4.3027.
    found = mean_over_seeds([1, 2, 3])
    assert found == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_what_the_seed_does_to_both_runs_cancels():
    assert paired_difference([0.9, 0.5, 0.7], [0.8, 0.4, 0.6]) == pytest.approx((0.1, 0.1, 0.1))
    value, low, high = paired_difference([0.9, 0.5, 0.8], [0.8, 0.4, 0.6])
    test = stats.ttest_rel([0.9, 0.5, 0.8], [0.8, 0.4, 0.6]).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(test))
    assert value == pytest.approx(0.4 / 3)


def test_a_single_run_is_tested_as_crawford_and_howell_do():
    # t = (x - mean) / (s * sqrt((n + 1) / n)): at a p of 0.05 the interval begins at 0.
    controls = [0.5, 0.6, 0.7, 0.8]
    s = 0.1 * (5 / 3) ** 0.5
    x = 0.65 + stats.t.ppf(0.975, 3) * s * (5 / 4) ** 0.5
    value, low, high = single_difference(x, controls)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(2 * value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_over_seeds([0.5]),
        lambda: single_difference(0.5, [0.4]),
        lambda: paired_difference([0.5, 0.6], [0.4]),
    ],
)
def test_one_seed_says_nothing_of_the_others(call):
    with pytest.raises(DataError, match="need"):
        call()
