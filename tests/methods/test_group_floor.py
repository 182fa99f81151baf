import numpy as np
import pytest

from umc_ray.methods.group_floor import give_way, least_picks


@pytest.mark.parametrize(
    ("batch", "floor", "available", "least"),
    [
        (20, 0.1, [9, 9, 9], [2, 2, 2]),
        (20, 0.1, [9, 1, 0], [2, 1, 0]),
        (20, 0.9, [50, 50, 50], [6, 6, 6]),  # more than all: equal parts
        (20, 0.0, [9, 9], [0, 0]),
        (20, 0.3, [], []),
    ],
)
def test_each_group_has_its_share_of_what_is_there(batch, floor, available, least):
    assert least_picks(batch, floor, np.array(available, np.int64)).tolist() == least


def test_the_last_picks_of_groups_above_their_least_give_way():
    groups_B = np.array([0, 1, 0, -1, 0, 0, 1])
    stays_B, lacking_G = give_way(groups_B, np.array([2, 2, 3]))
    assert lacking_G.tolist() == [0, 0, 3]
    assert stays_B.tolist() == [True, True, True, False, False, False, True]


def test_nothing_gives_way_where_all_groups_have_their_least():
    stays_B, lacking_G = give_way(np.array([0, 1, -1, 0]), np.array([1, 1]))
    assert stays_B.all()
    assert not lacking_G.any()


def test_afterwards_each_group_has_its_least():
    rng = np.random.default_rng(0)
    for _ in range(50):
        groups_B = rng.choice([-1, 0, 1, 2, 3], 30, p=[0.1, 0.6, 0.2, 0.1, 0.0])
        least_G = least_picks(30, rng.uniform(0, 0.4), rng.integers(0, 40, 4))
        stays_B, lacking_G = give_way(groups_B, least_G)
        kept_G = np.bincount(groups_B[stays_B & (groups_B >= 0)], minlength=4)
        assert (kept_G + lacking_G >= least_G).all()
        assert stays_B.sum() + lacking_G.sum() == 30
