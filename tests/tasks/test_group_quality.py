import numpy as np
import pytest

from umc_ray.tasks import group_quality
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.group_quality import Predicted
from umc_ray.tasks.multi_label import MultiLabel

SEX = np.array(["f", "m"] * 60)
RACE = np.array((["a"] * 10 + ["b"] * 2) * 10)
TRUTH = ["bad", "bad", "good", "good"] * 30
WRONG = {"bad": "good", "good": "bad"}


def predicted(kind, texts, truth):
    return Predicted(kind, texts, truth, np.full(len(texts), 0.75, np.float32))


def test_groups_are_compared_one_by_one_and_together():
    """All predictions of one sex are right, half of the other's are wrong."""
    kind = Classification(("bad", "good"))
    texts = [WRONG[t] if s == "m" and i % 4 == 1 else t for i, (t, s) in
             enumerate(zip(TRUTH, SEX, strict=True))]  # fmt: skip
    sex, race, both = predicted(kind, texts, TRUTH).compare({"sex": SEX, "race": RACE}, 15)
    assert (sex.by, race.by, both.by) == ("sex", "race", "sex × race")
    by_name = {each.name: each for each in sex.groups}
    assert (by_name["f"].n, by_name["f"].utility.value) == (60, 1)
    assert by_name["m"].utility.value == 0.5
    assert by_name["m"].calibration_error.value == pytest.approx(0.25)
    assert sex.utility_gap.value == 0.5
    assert sex.equalized_odds.value == 1  # all that are bad and of one sex are called good
    assert [each.name for each in both.groups] == ["f × a", "m × a", "other"]
    assert (both.merged, both.left_out) == (20, 0)


def test_several_labels_are_judged_one_by_one():
    kind = MultiLabel(("bad", "good"))
    truth = ["bad | good" if i % 3 else "(none)" for i in range(120)]
    texts = ["bad" if t != "(none)" and s == "m" else t for t, s in zip(truth, SEX, strict=True)]
    (found,) = predicted(kind, texts, truth).compare({"sex": SEX}, 15)
    assert found.equalized_odds.value == 1  # "good" is never found for one sex
    assert found.demographic_parity.value == pytest.approx(2 / 3)
    assert found.utility_gap.value == pytest.approx(1 / 3)  # Jaccard 1/2 of two thirds


def test_too_few_samples_are_not_compared():
    kind = Classification(("bad", "good"))
    (found,) = predicted(kind, TRUTH, TRUTH).compare({"sex": SEX}, 61)
    assert (found.groups[0].name, found.merged) == ("other", 120)
    assert found.utility_gap is found.equalized_odds is found.demographic_parity is None


def test_of_many_samples_some_are_drawn(monkeypatch):
    kind = Classification(("bad", "good"))
    monkeypatch.setattr(group_quality, "MOST_SAMPLES", 90)
    texts = ["good" if s == "m" else t for t, s in zip(TRUTH, SEX, strict=True)]
    (found,) = predicted(kind, texts, TRUTH).compare({"sex": SEX}, 15)
    assert (found.n, sum(each.n for each in found.groups)) == (90, 90)
    assert {each.name: each.utility.value == 1 for each in found.groups} == {"f": True, "m": False}
