import numpy as np
import pytest

from umc_ray.methods import rarity
from umc_ray.methods.rarity import UNANSWERED, nearest_to_rare, rare_classes


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([], []),
        ([3, 3, 3], []),  # of one class, nothing is rare
        ([0, 1, 0, 1], []),  # nor of two that are as frequent
        ([0, 0, 0, 1, 1], [1]),  # the rarest is, even if it is no rarity
        ([0] * 9 + [1] * 2 + [2] * 10 + [3], [3, 1]),
        ([0] * 9 + [UNANSWERED] + [1] * 3, [1]),
    ],
)
def test_a_class_is_rare_beside_the_mean_of_all_that_were_seen(answers, found):
    assert rare_classes(np.array(answers, np.int64)).tolist() == found


def test_rare_classes_take_turns_and_no_candidate_comes_twice():
    labeled_LD = np.array([[0], [100], *[[50]] * 9], np.float32)
    answers_L = np.array([1, 2, *[0] * 9])
    x_ND = np.array([[1], [2], [3], [99], [98], [50]], np.float32)
    # of the two rare classes 1 is first; what is left of both orders is dealt out in turn
    assert nearest_to_rare(x_ND, labeled_LD, answers_L).tolist()[:4] == [0, 3, 1, 4]
    assert sorted(nearest_to_rare(x_ND, labeled_LD, answers_L).tolist()) == list(range(6))


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    x_ND, labeled_LD = (rng.normal(size=(n, 5)).astype(np.float32) for n in (300, 40))
    answers_L = np.repeat([0, 1], [35, 5])
    whole = nearest_to_rare(x_ND, labeled_LD, answers_L)
    monkeypatch.setattr(rarity, "_BLOCK", 400)
    assert nearest_to_rare(x_ND, labeled_LD, answers_L).tolist() == whole.tolist()
