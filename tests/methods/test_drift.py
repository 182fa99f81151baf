import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.methods.drift import population_stability

COUNTS = st.lists(st.integers(0, 10**6), min_size=10, max_size=10).map(np.array)


def test_it_is_the_sum_that_can_be_worked_out_by_hand():
    expected, found = np.array([4999.5, 4999.5]), np.array([7499.5, 2499.5])
    by_hand = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert population_stability(expected, found) == pytest.approx(by_hand)


@given(COUNTS, COUNTS)
def test_it_is_a_distance_that_is_never_negative_nor_infinite(one, other):
    found = population_stability(one, other)
    assert 0 <= found < np.inf
    assert found == pytest.approx(population_stability(other, one))
    assert population_stability(one, one) == pytest.approx(0)
