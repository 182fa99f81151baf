import numpy as np
import pytest

from umc_ray.methods import rarity
from umc_ray.methods.rarity import UNANSWERED, nearest_to_rare, rare_classes


@pytest.mark.parametrize(
    ("answers", "rare"),
    [
        ([], []),
        ([3, 3, 3], []),  # a single class is not rare
        ([0, 1, 0, 1], []),  # nor are two equally frequent classes
        ([0, 0, 0, 1, 1], [1]),  # the least frequent class always counts as rare
        ([0] * 9 + [1] * 2 + [2] * 10 + [3], [3, 1]),
        ([0] * 9 + [UNANSWERED] + [1] * 3, [1]),
    ],
)
def test_rare_classes_have_few_labels_compared_with_the_mean(answers, rare):
    assert rare_classes(np.array(answers, np.int64)).tolist() == rare


def test_rare_classes_take_turns_and_no_candidate_is_repeated():
    labeled_LD = np.array([[0], [100], *[[50]] * 9], np.float32)
    answers_L = np.array([1, 2, *[0] * 9])
    x_ND = np.array([[1], [2], [3], [99], [98], [50]], np.float32)
    # class 1 comes first, then both classes alternate
    assert nearest_to_rare(x_ND, labeled_LD, answers_L).tolist()[:4] == [0, 3, 1, 4]
    assert sorted(nearest_to_rare(x_ND, labeled_LD, answers_L).tolist()) == list(range(6))


def test_the_block_size_does_not_change_the_order(monkeypatch):
    rng = np.random.default_rng(0)
    x_ND, labeled_LD = (rng.normal(size=(n, 5)).astype(np.float32) for n in (300, 40))
    answers_L = np.repeat([0, 1], [35, 5])
    whole = nearest_to_rare(x_ND, labeled_LD, answers_L)
    monkeypatch.setattr(rarity, "_BLOCK", 400)
    assert nearest_to_rare(x_ND, labeled_LD, answers_L).tolist() == whole.tolist()
