import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.methods import near_duplicates as module
from umc_ray.methods.near_duplicates import near_duplicates, repeats

LABELED_LD = np.array([[1.0, 0.0], [0.0, 2.0]], np.float16)


def test_the_nearest_labeled_sample_counts_whatever_the_lengths():
    x_ND = np.array([[3, 0.1], [0.2, 5], [1, 1], [-1, 0]], np.float16)
    found = near_duplicates(x_ND, LABELED_LD, 0.99)
    assert found.rows_M.tolist() == [0, 1]
    assert found.nearest_M.tolist() == [0, 1]
    cosines = [3 / np.hypot(3, 0.1), 5 / np.hypot(0.2, 5)]
    np.testing.assert_allclose(found.cosine_M, cosines, atol=1e-4)


def test_of_equally_near_ones_the_first_counts():
    found = near_duplicates(np.array([[1.0, 1.0]]), LABELED_LD.astype(np.float32), 0.7)
    assert found.nearest_M.tolist() == [0]


def test_what_has_no_direction_resembles_nothing():
    x_ND = np.array([[0, 0], [np.nan, 1], [1, 0]], np.float16)
    labeled_LD = np.array([[0, 0], [np.nan, np.nan], [1, 0]], np.float16)
    found = near_duplicates(x_ND, labeled_LD, 1e-3)
    assert (found.rows_M.tolist(), found.nearest_M.tolist()) == ([2], [2])


@pytest.mark.parametrize(("n", "n_labeled"), [(0, 2), (3, 0)])
def test_without_samples_or_labels_there_are_none(n, n_labeled):
    found = near_duplicates(np.ones((n, 2)), np.ones((n_labeled, 2)), 0.5)
    assert len(found.rows_M) == len(found.nearest_M) == len(found.cosine_M) == 0


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 3), st.integers(1, 40))
def test_blocks_do_not_show_and_all_pairs_agree(n, n_labeled, seed, block):
    rng = np.random.default_rng(seed)
    x_ND, labeled_LD = rng.normal(size=(n, 3)), rng.normal(size=(n_labeled, 3))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x_ND, labeled_LD)]
    cosine_NL = unit[0] @ unit[1].T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = near_duplicates(x_ND, labeled_LD, 0.8)
    assert found.rows_M.tolist() == np.flatnonzero(cosine_NL.max(1) >= 0.8).tolist()
    assert found.nearest_M.tolist() == cosine_NL.argmax(1)[found.rows_M].tolist()


@pytest.mark.parametrize("block", [2**22, 6])
def test_a_sample_repeats_an_earlier_one_that_repeats_none_itself(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    angles = np.radians([0, 4, 8, 90, 91, 3])
    x_ND = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(
        [[3], [1], [1], [1], [2], [1]]
    )
    # 8 is near 4, which is a repeat of 0 and so stands for nothing.
    expected = [False, True, False, False, True, True]
    assert repeats(x_ND, np.cos(np.radians(5))).tolist() == expected
    assert repeats(x_ND[:0], 0.9).tolist() == []
