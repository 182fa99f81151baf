import pytest

from umc_ray.campaign.generation import is_hopeless
from umc_ray.diversity.generators.generator import Exemplar
from umc_ray.diversity.making import EXEMPLARS, Lack, requests_for
from umc_ray.diversity.validation import Acceptance
from umc_ray.methods.intervals import wilson_interval
from umc_ray.tasks.quality import Estimate

SAMPLES = tuple(Exemplar(i, f"text {i}", "ab"[i % 2]) for i in range(200))


def test_samples_are_split_by_what_is_missing_and_over_labels():
    lacks = [Lack("label a", 10, ("a",)), Lack("gap 1", 30, ("a", "b", "c"), ("m",))]
    found = requests_for(lacks, SAMPLES, ("a", "b", "c"), 20, seed=3)
    assert [(each.gap, each.label, each.count) for each in found] == [
        ("label a", "a", 5),
        ("gap 1", "a", 8),
        ("gap 1", "b", 7),  # nobody knows what c looks like
    ]
    assert [each.members for each in found] == [(), ("m",), ("m",)]
    for each in found:
        assert len(each.own) == EXEMPLARS
        assert len(each.exemplars) == 2 * EXEMPLARS
        assert each.exemplars[:EXEMPLARS] == each.own


def test_no_more_is_made_than_is_missing():
    (request,) = requests_for([Lack("label b", 1.5, ("b",))], SAMPLES, ("a", "b"), 20, seed=3)
    assert request.count == 2
    assert requests_for([], SAMPLES, ("a", "b"), 20, seed=3) == []


@pytest.mark.parametrize(
    ("right", "drawn", "hopeless"), [(0, 7, False), (0, 8, True), (2, 12, True), (4, 12, False)]
)
def test_a_generator_is_given_up_when_people_surely_reject_most(right, drawn, hopeless):
    rate = Estimate(right / drawn, *wilson_interval(right, drawn))
    group = Acceptance("t", "d", "writer", "gap 1", "a", 20, {}, drawn, rate)
    assert is_hopeless(group) == hopeless
