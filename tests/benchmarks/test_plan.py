import math

import numpy as np
import pytest

from benchmarks.plan import Case, crossing
from umc_ray.methods.learning_curve import Range

LABELS = np.array([10.0, 20.0, 40.0])


def test_a_curve_crosses_a_target_between_two_points_or_not_at_all():
    rising = np.array([0.5, 0.5, 0.7])
    assert crossing(LABELS, rising, 0.6) == pytest.approx(30)
    assert crossing(LABELS, rising, 0.7) == 40
    assert crossing(LABELS, rising, 0.71) is None


@pytest.mark.parametrize(
    ("said", "truth", "right"),
    [
        (Range(20, 30, 40), 40, True),
        (Range(20, 30, 40), 41, False),
        (Range(20, 30, 40), 19, False),
        (Range(20, 30, math.inf), 41, True),
        (Range(20, 30, 99), None, False),  # after 100 labels it is not reached
        (Range(20, 30, 100), None, True),
    ],
)
def test_an_interval_is_right_as_far_as_the_curve_was_recorded(said, truth, right):
    assert Case("x", 5, 0.01, 10, said, truth, recorded=100).is_right == right
