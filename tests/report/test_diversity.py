"""How varied the labels are, in the report and the card, by documents that are written by hand."""

from dataclasses import replace

import pytest

from tests.finished import build_run
from umc_ray.campaign.documents import RoundMetrics
from umc_ray.campaign.history import History
from umc_ray.diversity.measures import Diversity, Imitation
from umc_ray.report.diversity import diversity_lines, diversity_section, short_of_even
from umc_ray.report.report import REPORT, write_report
from umc_ray.tasks.quality import Estimate

HALF, FULL = Estimate(0.5, 0.4, 0.6), Estimate(1.0, 0.9, 1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(str(tmp_path_factory.mktemp("runs")), rounds=2, tasks=("mood",))


def test_what_was_not_measured_is_not_shown(run):
    history = History.of(run)
    assert diversity_section(history) is None
    assert diversity_lines(history) == []


def test_measures_are_in_the_report_and_the_card(run):
    key = "rounds/0002/metrics.json"
    found = Diversity(
        classes=FULL,
        clusters=HALF,
        random_clusters=FULL,
        new=HALF,
        groups={"sex": HALF},
        synthetic={"writer": Imitation(120, HALF, FULL, HALF, Estimate(1.2, 1.1, 1.3), HALF)},
    )
    metrics = run.storage.read_record(key, RoundMetrics)
    run.storage.write_record(
        key, replace(metrics, diversity={"mood/shop": found}, domain_balance={"mood": FULL})
    )
    history = History.of(run)
    over = [(each.where, each.over) for each in diversity_section(history).evenness]
    assert over == [
        ("mood", "domains"),
        ("mood/shop", "classes"),
        ("mood/shop", "clusters of the pool"),
        ("mood/shop", "groups of sex"),
    ]
    lines = diversity_lines(history)
    assert lines[2] == (
        "mood/shop: spread over clusters of the pool at 50.0% (95 %: 40.0% to 60.0%) of the "
        "greatest evenness; as many random samples: 100.0% (95 %: 90.0% to 100.0%)"
    )
    assert lines[-1].startswith("mood/shop, synthetic samples of writer: 100.0% (95 %: ")
    write_report(run)
    page = run.storage.read_bytes(REPORT).decode()
    for said in ("evenness over groups of sex", "new in the last round", "writer", "120.0%"):
        assert said in page


@pytest.mark.parametrize(("value", "shown"), [(1.0, 1.0), (0.99996, 0.999), (0.7, 0.7)])
def test_only_what_is_even_is_shown_as_even(value, shown):
    assert short_of_even(Estimate(value, 0.6, 1.0)) == Estimate(shown, 0.6, 1.0)
