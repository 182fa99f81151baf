import numpy as np
import pytest

from umc_ray.methods.intersections import (
    OTHER,
    count_by_group,
    groupings,
    intersect,
    joined_names,
)

SEX = np.array(["f", "f", "m", "m", "m", "m", "f"])
RACE = np.array(["a", "a", "a", "a", "b", "c", "b"])


def test_intersections_are_named_after_all_attributes():
    assert joined_names([SEX, RACE]).tolist()[::6] == ["f × a", "f × b"]
    assert intersect([SEX], 1).names == ("f", "m")


def test_small_groups_count_together():
    groups = intersect([SEX, RACE], 2)
    assert groups.names == ("f × a", "m × a", OTHER)
    assert groups.codes_N.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert groups.sizes_G.tolist() == [2, 2, 3]
    assert (groups.merged, groups.left_out) == (3, 0)


def test_small_groups_that_are_few_even_together_are_left_out_and_counted():
    groups = intersect([RACE], 3)
    assert groups.names == ("a", OTHER)
    groups = intersect([RACE], 4)
    assert groups.names == ("a",)
    assert groups.codes_N.tolist() == [0, 0, 0, 0, -1, -1, -1]
    assert (groups.merged, groups.left_out) == (0, 3)


def test_without_samples_there_are_no_groups():
    assert intersect([SEX[:0]], 3).names == ()


POOL = {("f", "a"): 50, ("f", "b"): 3, ("m", "a"): 60, ("m", "b"): 4}


@pytest.mark.parametrize(
    ("places", "smallest", "expected"),
    [
        ([0], 1, {"f": (6, 53), "m": (7, 64)}),
        ([0, 1], 5, {"f × a": (5, 50), "m × a": (7, 60), OTHER: (1, 7)}),
        ([0, 1], 8, {"f × a": (5, 50), "m × a": (7, 60)}),
    ],
)
def test_samples_and_labels_are_counted_by_group(places, smallest, expected):
    labeled = {("f", "a"): 5, ("f", "b"): 1, ("m", "a"): 7}
    assert count_by_group(POOL, labeled, places, smallest) == expected


def test_several_attributes_are_compared_one_by_one_and_together():
    assert groupings(["sex"]) == {"sex": [0]}
    assert groupings(["sex", "race"]) == {"sex": [0], "race": [1], "sex × race": [0, 1]}
