"""Parts of a few samples whose labels and errors are counted by hand."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from umc_ray.methods.gaps import Tree
from umc_ray.methods.slices import (
    Slices,
    least_audits,
    slices_of_tree,
    with_few_labels,
    with_more_errors,
)


def slices(reference_N, labeled_L, audits_A, parts=4):
    def inside(values):
        return np.arange(parts)[:, None] == np.asarray(values)

    return Slices(inside(reference_N), inside(labeled_L), inside(audits_A))


def test_a_part_with_too_few_labels_is_found():
    found = slices(np.arange(400) % 4, np.repeat([0, 1, 2, 3], [40, 40, 40, 4]), [])
    ((part, p_value),) = with_few_labels(found)
    assert part == 3
    assert p_value == pytest.approx(fisher_exact([[4, 120], [100, 300]], alternative="less").pvalue)
    assert with_few_labels(slices(np.arange(400) % 4, np.arange(120) % 4, [])) == []
    assert with_few_labels(slices(np.arange(400) % 4, [], [])) == []


def test_a_part_whose_audits_are_wrong_is_found():
    audits_A = np.arange(80) % 4
    wrong_A = (audits_A == 2) & (np.arange(80) < 60)
    wrong_A[:2] = True
    ((part, p_value),) = with_more_errors(slices(np.arange(400) % 4, [0], audits_A), wrong_A)
    assert part == 2
    assert p_value == pytest.approx(fisher_exact([[15, 5], [2, 58]], alternative="greater").pvalue)
    even_A = np.arange(80) % 8 < 4
    assert with_more_errors(slices(np.arange(400) % 4, [0], audits_A), even_A) == []
    assert with_more_errors(slices(np.arange(400) % 4, [0], []), even_A[:0]) == []


def test_of_parts_that_overlap_the_more_significant_one_is_found():
    audits_A = np.arange(200) % 4
    inside_TA = np.array([audits_A == 1, np.isin(audits_A, (1, 2))])
    both = Slices(inside_TA, inside_TA[:, :0], inside_TA)
    ((part, _),) = with_more_errors(both, audits_A == 1)
    assert part == 0


def test_few_wrong_audits_say_nothing_whatever_part_they_are_in():
    wrong_A = np.arange(100) < 30
    least = least_audits(wrong_A, 200)
    p_values = [
        fisher_exact([[k, 0], [30 - k, 70]], alternative="greater").pvalue
        for k in (least - 1, least)
    ]
    assert p_values[1] <= 0.05 / 200 < p_values[0]
    assert least_audits(np.arange(100) < 1, 200) is None
    assert least_audits(wrong_A[:0], 200) is None


def test_nodes_of_a_tree_are_parts():
    nodes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], bool)
    tree = Tree(np.zeros((3, 2), np.float32), np.array([0, 1, 2, 0]), nodes)
    found = slices_of_tree(tree, np.array([2, 1]), np.array([0]))
    assert found.inside_TN[3].tolist() == [True, True, False, True]
    assert found.inside_TL[:, 1].tolist() == [False, True, False, True]
    assert found.inside_TA[:, 0].tolist() == [True, False, False, True]
