import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.methods.allocation import allocate


def test_shares_that_are_whole_numbers_of_labels_are_exact():
    assert allocate([0.5, 0.3, 0.2], 10, floor=0.0, remaining_A=[9, 9, 9]).tolist() == [5, 3, 2]


def test_missing_labels_go_to_the_largest_remainders():
    # 7 x (.46, .36, .18) = 3.22, 2.52, 1.26: one label is left, .52 is the largest remainder
    assert allocate([0.46, 0.36, 0.18], 7, floor=0.0, remaining_A=[9] * 3).tolist() == [3, 3, 1]


def test_ties_go_to_the_earlier_arm():
    assert allocate([1, 1, 1], 4, floor=0.0, remaining_A=[9, 9, 9]).tolist() == [2, 1, 1]


def test_larger_shares_pay_for_the_floor():
    labels = allocate([0.9, 0.1, 0.0], 100, floor=0.1, remaining_A=[999] * 3)
    assert labels.tolist() == [80, 10, 10]


def test_a_floor_above_an_even_split_becomes_an_even_split():
    assert allocate([1, 0, 0, 0], 8, floor=0.9, remaining_A=[9] * 4).tolist() == [2, 2, 2, 2]


def test_labels_that_an_arm_cannot_take_go_to_the_others_by_their_shares():
    labels = allocate([0.5, 0.4, 0.1], 100, floor=0.0, remaining_A=[0, 999, 999])
    assert labels.tolist() == [0, 80, 20]


def test_an_arm_with_share_0_takes_labels_that_no_other_arm_can():
    assert allocate([1.0, 0.0], 10, floor=0.0, remaining_A=[4, 9]).tolist() == [4, 6]


def test_a_budget_larger_than_the_pool_empties_it():
    assert allocate([0.2, 0.8], 100, floor=0.1, remaining_A=[3, 4]).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("shares", "budget", "remaining"),
    [([0.5, -0.1], 5, [9, 9]), ([0.5, np.nan], 5, [9, 9]), ([1.0], -1, [9]), ([1.0], 5, [9, 9])],
)
def test_impossible_input_is_refused(shares, budget, remaining):
    with pytest.raises(DataError):
        allocate(shares, budget, floor=0.0, remaining_A=remaining)


arms = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 10**6)), min_size=0, max_size=12)


@given(arms, st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_every_allocation_respects_total_bounds_and_floor(arms, budget, floor):
    shares = np.array([share for share, _ in arms])
    remaining = np.array([left for _, left in arms], dtype=np.int64)
    labels = allocate(shares, budget, floor=floor, remaining_A=remaining)
    least = int(min(floor, 1 / max(len(arms), 1)) * budget)
    assert labels.sum() == min(budget, remaining.sum())
    assert (labels <= remaining).all()
    assert (labels >= np.minimum(least, remaining)).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 500))
def test_without_bounds_every_arm_is_within_one_label_of_its_share(parts, budget):
    labels = allocate(parts, budget, floor=0.0, remaining_A=[10**6] * len(parts))
    exact = budget * np.array(parts) / sum(parts)
    assert (np.abs(labels - exact) < 1 + 1e-6).all()
