import numpy as np
import pytest

from umc_ray.errors import DataError
from umc_ray.methods.savings import Curve, aulc, labels_to_reach, paired_interval, saving

LABELS = [100, 200, 300, 400]


def test_labels_are_interpolated_between_the_rounds_around_the_target():
    assert labels_to_reach(LABELS, [0.5, 0.7, 0.8, 0.9], 0.75) == pytest.approx(250)


def test_one_lucky_round_does_not_count():
    # 0.8 is reached at 200, lost at 300, and held from 375 on (interpolated)
    labels = labels_to_reach([*LABELS, 500], [0.5, 0.8, 0.5, 0.9, 0.9], 0.8)
    assert labels == pytest.approx(375)


def test_the_last_round_alone_does_not_count():
    assert labels_to_reach(LABELS, [0.5, 0.6, 0.7, 0.9], 0.8) is None


def test_a_curve_that_starts_at_the_target_needs_its_first_labels():
    assert labels_to_reach(LABELS, [0.9, 0.9, 0.9, 0.9], 0.8) == 100


def test_the_saving_is_the_share_of_the_controls_labels_not_needed():
    control = Curve(LABELS, [0.5, 0.6, 0.7, 0.8])
    curve = Curve(LABELS, [0.6, 0.7, 0.8, 0.8])
    result = saving(curve, control, 0.65)
    assert (result.labels, result.control_labels) == (pytest.approx(150), pytest.approx(250))
    assert result.share == pytest.approx(0.4)
    assert result.reached


def test_the_default_target_is_what_the_control_holds_for_two_rounds():
    # the control reaches 0.9 once and holds 0.8 for two rounds
    result = saving(Curve(LABELS, [0.5, 0.8, 0.8, 0.8]), Curve(LABELS, [0.5, 0.7, 0.9, 0.8]))
    assert result.control_labels == pytest.approx(250)
    assert result.labels == pytest.approx(200)


def test_a_method_that_never_reaches_the_target_has_no_saving():
    result = saving(Curve(LABELS, [0.5] * 4), Curve(LABELS, [0.5, 0.7, 0.7, 0.7]))
    assert (result.share, result.labels, result.reached) == (None, None, False)


def test_a_method_that_needs_more_labels_has_a_negative_saving():
    curve, control = Curve(LABELS, [0.5, 0.5, 0.7, 0.7]), Curve(LABELS, [0.5, 0.7, 0.7, 0.7])
    assert saving(curve, control, 0.7).share == pytest.approx(1 - 300 / 200)


def test_the_area_is_the_mean_height_of_the_curve():
    assert aulc([0, 10, 30], [0.0, 1.0, 1.0]) == pytest.approx((5 + 20) / 30)


def test_the_area_between_two_label_counts_is_interpolated():
    assert aulc([0, 10], [0.0, 1.0], start=2, stop=4) == pytest.approx(0.3)


def test_an_area_outside_the_curve_is_an_error():
    with pytest.raises(DataError, match="from 0"):
        aulc([10, 20], [0.1, 0.2], start=0)


@pytest.mark.parametrize(
    ("labels", "accuracy"), [([], []), ([1, 2], [0.5]), ([2, 1], [0.5, 0.6]), ([1, 1], [0.5, 0.6])]
)
def test_an_invalid_curve_is_an_error(labels, accuracy):
    with pytest.raises(DataError):
        labels_to_reach(labels, accuracy, 0.5)


def test_pairing_cancels_the_effect_of_the_seed():
    control = np.array([0.1, 0.9, 0.4])
    interval = paired_interval(control + 0.02, control)
    assert (interval.low, interval.mean, interval.high) == pytest.approx((0.02, 0.02, 0.02))


def test_the_interval_agrees_with_the_normal_approximation_on_many_pairs():
    differences = np.random.default_rng(0).normal(1.0, 2.0, 400)
    interval = paired_interval(differences, np.zeros(400))
    half = 1.96 * differences.std(ddof=1) / np.sqrt(400)
    assert interval.low == pytest.approx(differences.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(differences.mean() + half, abs=0.03)


def test_runs_that_cannot_be_paired_are_an_error():
    with pytest.raises(DataError, match="1 and 2"):
        paired_interval([0.5], [0.5, 0.6])
