import numpy as np

from umc_ray.methods.intersections import OTHER, intersect, joined_names

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
