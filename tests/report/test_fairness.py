"""What is said of groups, by documents that are written by hand."""

from dataclasses import replace

import pytest

from tests.finished import build_run
from umc_ray.campaign.documents import (
    AnnotatorBias,
    DomainFairness,
    Fairness,
    GroupShare,
    Representation,
)
from umc_ray.campaign.history import History
from umc_ray.methods.fairness import Difference
from umc_ray.report.fairness import NO_GROUPS, ethics_lines, fairness_sections, group_lines
from umc_ray.tasks.group_quality import GroupComparison, GroupQuality
from umc_ray.tasks.quality import Estimate

NAME = "mood/shop"
FAIR = Difference(0.05, 0.0, 0.1, 0.06, 0.12)
UNFAIR = Difference(0.3, 0.25, 0.35, 0.06, 0.12)


def comparison(odds, gap=FAIR):
    each = Estimate(0.9, 0.8, 0.95)
    groups = [GroupQuality(name, 40, each, each) for name in ("f", "m")]
    return GroupComparison("sex", 83, groups, 0, 3, gap, FAIR, odds)


def domain(audit=None, test=None, shares=FAIR, annotators=()):
    groups = [GroupShare("f", 5, 100), GroupShare("m", 15, 100)]
    return DomainFairness(
        audit=[comparison(audit)] if audit else [],
        test=[comparison(test)] if test else [],
        representation=[Representation("sex", groups, shares)],
        annotators=list(annotators),
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_run(str(tmp_path_factory.mktemp("runs")), rounds=2, tasks=("mood",))


@pytest.fixture
def history(built):
    """The run's rounds; what a test writes of groups is gone after it."""
    yield History.of(built)
    for number in (1, 2):
        built.storage.delete_file(f"rounds/{number:04d}/fairness.json")


def write(history, *domains):
    for number, each in enumerate(domains, start=1):
        document = Fairness({NAME: each})
        history.run.storage.write_record(f"rounds/{number:04d}/fairness.json", document)
    return History.of(history.run)


def test_without_groups_only_the_card_speaks_of_them(history):
    assert fairness_sections(history, []) == []
    assert group_lines(history.run) == []
    assert ethics_lines(history) == [NO_GROUPS]


def test_what_chance_explains_is_no_warning(history):
    (section,) = fairness_sections(write(history, domain(FAIR), domain(FAIR, FAIR)), [])
    assert section.warnings == []
    assert section.measured_on == "test data"
    assert [(row.name, row.n, row.pool, row.labels) for row in section.groups] == [
        ("f", 40, 0.5, 0.25),
        ("m", 40, 0.5, 0.75),
    ]
    assert [(row.round, row.equalized_odds) for row in section.trend] == [(1, FAIR), (2, FAIR)]


def test_what_chance_does_not_explain_is_a_warning_in_report_card_and_status(history):
    bias = AnnotatorBias("sex", [], UNFAIR)
    history = write(history, domain(UNFAIR), domain(FAIR, UNFAIR, UNFAIR, [bias]))
    (section,) = fairness_sections(history, [])
    assert [warning.partition(" differ")[0] for warning in section.warnings] == [
        "equalized odds by sex",
        "share of labels and of pool by sex",
        "disagreement of annotators by sex",
    ]
    said = "equalized odds by sex differ by 30.0% between groups (95 %: 25.0% to 35.0%)"
    assert section.warnings[0].startswith(said)
    card = ethics_lines(history)
    assert f"Warning, {NAME}: {section.warnings[0]}." in card
    assert card[-1].startswith("Not measured: ")
    assert group_lines(history.run) == [
        f"groups of {NAME}: equalized odds differ by 30.0% by sex (95 %: 25.0% to 35.0%; by "
        "chance 6.0%)"
    ]


def test_what_cannot_be_measured_is_said(history):
    (section,) = fairness_sections(write(history, domain(), domain()), [])
    assert section.notes == [
        "quality by group is not measured yet: there are no audit samples and no test data"
    ]
    few = replace(domain(), audit=[comparison(None, gap=None)])
    (section,) = fairness_sections(write(history, few, few), [])
    assert "fewer than two groups have enough samples" in section.notes[0]
    assert section.notes[1] == (
        "by sex, 0 samples of small groups count together as other, 3 are left out"
    )
    (line,) = group_lines(history.run)
    assert line.endswith("not enough audit samples or test data to compare them yet")


def test_a_campaign_that_is_less_fair_than_random_is_told_so(history, tmp_path):
    control = build_run(str(tmp_path), "control", rounds=1, tasks=("mood",))
    control = write(History.of(control), domain(test=FAIR))
    (section,) = fairness_sections(write(history, domain(), domain(test=UNFAIR)), [control])
    assert section.warnings[-1].startswith(
        "less fair than control, whose samples are drawn at random: equalized odds differ by 30.0%"
    )
    close = replace(UNFAIR, low=0.08)  # within the interval of the control
    (section,) = fairness_sections(write(history, domain(), domain(test=close)), [control])
    assert not section.warnings[-1].startswith("less fair")
