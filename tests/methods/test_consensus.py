import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.methods.consensus import majority


def votes(*rows):
    item_M, annotator_M, label_M = np.array(rows, np.int64).reshape(-1, 3).T
    return item_M, annotator_M, label_M


def test_the_class_with_most_votes_wins():
    found = majority(*votes((7, 0, 2), (7, 1, 2), (7, 2, 0), (5, 0, 1)), 3)
    assert found.item_N.tolist() == [5, 7]
    assert found.label_N.tolist() == [1, 2]
    assert found.agreement_N.tolist() == pytest.approx([1, 2 / 3])
    np.testing.assert_allclose(found.soft_NC, [[0, 1, 0], [1 / 3, 0, 2 / 3]])


def test_ties_go_to_each_class_as_often_whatever_the_order():
    rows = [(item, person, label) for item in range(600) for person, label in ((0, 2), (1, 1))]
    drawn = majority(*votes(*rows), 3)
    again = majority(*votes(*rows[::-1]), 3)
    assert drawn.label_N.tolist() == again.label_N.tolist()
    assert set(drawn.agreement_N) == {0.5}
    counts = np.bincount(drawn.label_N, minlength=3)
    assert counts[0] == 0
    assert 250 < counts[1] < 350  # 4 standard deviations of a fair draw


def test_the_last_answer_of_a_person_counts():
    found = majority(*votes((0, 4, 0), (0, 4, 0), (0, 9, 1), (0, 4, 1)), 2)
    assert found.label_N.tolist() == [1]
    assert found.agreement_N.tolist() == [1]


def test_no_votes_give_no_labels():
    found = majority(*votes(), 4)
    assert found.label_N.shape == (0,)
    assert found.soft_NC.shape == (0, 4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1))
def test_consensus_equals_counting_by_hand(rows):
    found = majority(*votes(*rows), 3)
    last = {(item, person): label for item, person, label in rows}
    for i, item in enumerate(found.item_N):
        given_labels = [label for (it, _), label in last.items() if it == item]
        counts = [given_labels.count(label) for label in range(3)]
        assert counts[found.label_N[i]] == max(counts)
        assert found.soft_NC[i].tolist() == pytest.approx([c / len(given_labels) for c in counts])
        assert found.agreement_N[i] == found.soft_NC[i].max()


def test_votes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="found 0 to 2"):
        majority(*votes((0, 0, 2), (0, 1, 0)), 2)
    with pytest.raises(DataError, match="equal lengths"):
        majority(np.zeros(2, int), np.zeros(1, int), np.zeros(2, int), 2)
