import pytest

from umc_ray.campaign.documents import DomainMetrics, RoundMetrics
from umc_ray.methods.calibration import Reliability
from umc_ray.methods.intervals import wilson_interval
from umc_ray.report.comparison import (
    Point,
    at_labels,
    compare,
    compare_seeds,
    difference,
    domain_curve,
    macro_curve,
    mean,
    mean_curve,
    weighted_mean,
)
from umc_ray.report.control import difference_sentence, saving_sentence
from umc_ray.tasks.quality import Estimate, Quality


def curve(*pairs, spread=0.0):
    return [Point(x, Estimate(y, y - spread, y + spread)) for x, y in pairs]


def measured(labels, **accuracies):
    """Metrics of a round; accuracies of 100 samples, None where a domain has no test."""
    domains = {
        name: DomainMetrics(0, 0.0, None, None, value and quality(value), None)
        for name, value in accuracies.items()
    }
    return RoundMetrics(labels, 0.0, domains, None, None)


def quality(accuracy):
    interval = wilson_interval(round(100 * accuracy), 100)
    return Quality(100, Estimate(accuracy, *interval), 0.0, Reliability([], [], []))


def test_a_difference_has_the_interval_of_newcombes_published_example():
    # 56 of 70 against 48 of 80, method 10 of Newcombe 1998: 0.0524 to 0.3339.
    a, b = (Estimate(r / n, *wilson_interval(r, n)) for r, n in ((56, 70), (48, 80)))
    found = difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_mean_of_four_equal_estimates_is_half_as_wide():
    assert mean([Estimate(0.5, 0.3, 0.6)] * 4) == Estimate(0.5, 0.4, 0.55)


def test_a_weighted_mean_weighs_values_and_intervals():
    found = weighted_mean([Estimate(0.5, 0.3, 0.6), Estimate(0.9, 0.8, 0.95)], [3, 1])
    assert found.value == pytest.approx(0.6)
    assert found.value - found.low == pytest.approx(((0.75 * 0.2) ** 2 + (0.25 * 0.1) ** 2) ** 0.5)
    assert found.high - found.value == pytest.approx(
        ((0.75 * 0.1) ** 2 + (0.25 * 0.05) ** 2) ** 0.5
    )


def test_the_macro_curve_begins_when_all_domains_are_measured():
    metrics = [measured(10, a=0.5, b=None), measured(20, a=0.6, b=0.8), measured(30, a=0.7, b=0.9)]
    points = macro_curve(metrics, ["a", "b"])
    assert [(point.labels, point.utility.value) for point in points] == [
        (20, pytest.approx(0.7)),
        (30, pytest.approx(0.8)),
    ]
    assert [point.labels for point in domain_curve(metrics, "a")] == [10, 20, 30]


def test_of_rounds_without_new_labels_the_last_counts():
    points = domain_curve([measured(10, a=0.5), measured(10, a=0.6), measured(20, a=0.7)], "a")
    assert [(point.labels, point.utility.value) for point in points] == [(10, 0.6), (20, 0.7)]


def test_a_curve_is_straight_between_rounds():
    assert at_labels(curve((10, 0.5), (20, 0.7), spread=0.1), 15) == Estimate(
        *(pytest.approx(each) for each in (0.6, 0.5, 0.7))
    )


def test_curves_are_compared_as_far_as_both_go():
    found = compare("x", "test", curve((10, 0.5), (30, 0.9)), curve((10, 0.4), (20, 0.6)))
    assert (found.labels, found.difference.value) == (20, pytest.approx(0.1))
    assert compare("x", "test", curve((30, 0.9)), curve((10, 0.4), (20, 0.6))) is None
    assert compare("x", "test", [], curve((10, 0.4))) is None


@pytest.mark.parametrize(
    ("run", "control", "sentence"),
    [
        (
            [(10, 0.8), (20, 0.8), (40, 0.8)],
            [(10, 0.4), (20, 0.6), (40, 0.8), (60, 0.8)],
            "75%: 10 labels to hold 80.0%, the control 40",
        ),
        (
            [(10, 0.4), (20, 0.6), (40, 0.8), (60, 0.8)],
            [(10, 0.4), (20, 0.8), (40, 0.8)],
            "none, 100% more were needed: 40 labels to hold 80.0%, the control 20",
        ),
        (
            [(10, 0.4), (20, 0.8), (40, 0.8)],
            [(10, 0.4), (20, 0.8), (40, 0.8)],
            "none: 20 labels to hold 80.0%, the control 20",
        ),
        (
            [(10, 0.4), (20, 0.5)],
            [(10, 0.8), (20, 0.8)],
            "none: the control held 80.0% after 10 labels, this campaign never did",
        ),
        (
            [(10, 0.9), (20, 0.9)],
            [(10, 0.4)],
            "unknown: the control did not hold any accuracy for two rounds",
        ),
    ],
)
def test_savings_are_described(run, control, sentence):
    assert saving_sentence(compare("x", "test", curve(*run), curve(*control))) == sentence


def test_an_insignificant_difference_is_not_called_a_lead():
    sure = compare("x", "test", curve((10, 0.9), spread=0.01), curve((10, 0.8), spread=0.01))
    lost = compare("x", "test", curve((10, 0.7), spread=0.01), curve((10, 0.8), spread=0.01))
    unsure = compare("x", "test", curve((10, 0.9), spread=0.2), curve((10, 0.8), spread=0.2))
    assert difference_sentence(sure) == "+10.0 points ahead of the control at 10 labels"
    assert difference_sentence(lost) == "−10.0 points behind the control at 10 labels"
    assert "not statistically significant" in difference_sentence(unsure)


def test_a_mean_curve_covers_the_labels_that_all_seeds_reach():
    short, long = curve((10, 0.5), (20, 0.7)), curve((10, 0.6), (30, 0.8))
    found = mean_curve([long, short])
    assert [(point.labels, point.utility.value) for point in found] == [(10, pytest.approx(0.55))]
    assert mean_curve([short]) == short
    assert mean_curve([short, []]) == []


def test_one_run_is_compared_with_the_mean_of_several_controls():
    controls = [curve((10, a), (20, a + 0.1), (30, a + 0.1)) for a in (0.4, 0.5, 0.6)]
    run = curve((10, 0.6), (20, 0.8), (30, 0.8), spread=0.3)
    found = compare_seeds("x", "test", [run], controls)
    assert (found.control.value, found.difference.value) == (pytest.approx(0.6), pytest.approx(0.2))
    assert found.saving.labels == 10  # the mean of the controls holds 0.6 from 20 labels on
    # t of 2 degrees of freedom, and the variance of a single run and of the mean of three
    spread = 4.3027 * 0.1 * (1 + 1 / 3) ** 0.5
    assert found.difference.high - 0.2 == pytest.approx(spread, abs=1e-4)


def test_pairs_of_seeds_are_compared_pair_by_pair():
    controls = [curve((10, a), (20, a)) for a in (0.4, 0.5, 0.6)]
    runs = [curve((10, a), (20, a + 0.1)) for a in (0.4, 0.5, 0.6)]
    found = compare_seeds("x", "test", runs, controls)
    assert found.difference == Estimate(*[pytest.approx(0.1)] * 3)
