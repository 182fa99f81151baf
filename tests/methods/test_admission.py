import numpy as np

from umc_ray.methods.admission import admits, drawn_prefix, most_ambiguous, spread


def test_a_prefix_ends_before_the_first_sample_that_was_not_answered():
    numbers = np.array([0.3, 0.1, 0.9, 0.2])  # the order is 1, 3, 0, 2
    answered = np.array([False, True, True, True])
    assert drawn_prefix(numbers, answered).tolist() == [False, True, False, True]
    assert not drawn_prefix(numbers, np.array([True, False, True, True])).any()
    assert drawn_prefix(np.empty(0), np.empty(0, np.bool_)).tolist() == []


def test_35_of_35_admit_at_ninety_percent_and_34_do_not():
    # Wilson's lower bound of n of n is n / (n + 1.96^2).
    assert admits(35, 35, 0.9)
    assert not admits(34, 34, 0.9)
    assert not admits(59, 60, 0.95)
    assert not admits(0, 0, 0.1)


def test_questions_are_spread_over_groups_by_random_number():
    groups = np.array([0, 0, 0, 1, 2, 2])
    numbers = np.array([0.5, 0.1, 0.9, 0.8, 0.3, 0.2])
    assert sorted(spread(groups, numbers, 3).tolist()) == [1, 3, 5]
    assert spread(groups, numbers, 5).tolist() == [1, 5, 3, 4, 0]
    assert spread(groups, numbers, 99).tolist() == [1, 5, 3, 4, 0, 2]
    assert spread(np.empty(0, np.int64), np.empty(0), 3).tolist() == []


def test_the_most_ambiguous_are_nearest_to_an_even_chance():
    probability = np.array([0.9, 0.45, np.nan, 0.02, 0.52])
    numbers = np.linspace(0, 1, 5)
    assert most_ambiguous(probability, numbers, 4).tolist() == [2, 4, 1, 0]
