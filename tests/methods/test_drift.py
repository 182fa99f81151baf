import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.methods.drift import population_stability

COUNTS = st.lists(st.integers(0, 10**6), min_size=10, max_size=10).map(np.array)


def test_the_index_agrees_with_a_computation_by_hand():
    expected, actual = np.array([4999.5, 4999.5]), np.array([7499.5, 2499.5])
    by_hand = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert population_stability(expected, actual) == pytest.approx(by_hand)


@given(COUNTS, COUNTS)
def test_the_index_is_symmetric_finite_and_never_negative(one, other):
    index = population_stability(one, other)
    assert 0 <= index < np.inf
    assert index == pytest.approx(population_stability(other, one))
    assert population_stability(one, one) == pytest.approx(0)
