"""How robust models are, in the report and the card, by a document that is written by hand."""

import pytest

from tests.finished import build_run
from umc_ray.campaign.history import History
from umc_ray.report.report import REPORT, write_report
from umc_ray.report.robustness import robustness_lines, robustness_rows
from umc_ray.robustness.shifts import DomainRobustness, Robustness, ShiftQuality
from umc_ray.tasks.quality import Estimate

CLEAN = ShiftQuality("clean", 200, Estimate(0.8, 0.7, 0.9))
NIGHT = ShiftQuality("night", 100, Estimate(0.6, 0.5, 0.7))
BLUR = ShiftQuality("blur", 200, Estimate(0.4, 0.3, 0.5))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(str(tmp_path_factory.mktemp("runs")), rounds=2, tasks=("mood",))


def test_robustness_is_shown_where_it_was_measured(run):
    assert robustness_lines(History.of(run)) == robustness_rows(History.of(run)) == []
    found = DomainRobustness(CLEAN, [NIGHT], [BLUR], Estimate(0.625, 0.5, 0.75))
    document = Robustness({"mood/shop": found})
    run.storage.write_record("rounds/0002/robustness.json", document)
    history = History.of(run)
    rows = [(row.kind, row.quality.name, row.relative) for row in robustness_rows(history)]
    assert rows == [
        ("test", "clean", 1.0),
        ("shift", "night", pytest.approx(0.75)),
        ("corruption", "blur", 0.5),
    ]
    assert robustness_lines(history) == [
        "mood/shop: clean 80.0% (70.0% to 90.0%); 62.5% of it is kept (50.0% to 75.0%). "
        "night 60.0% (50.0% to 70.0%); blur 40.0% (30.0% to 50.0%)"
    ]
    write_report(run)
    page = run.storage.read_bytes(REPORT).decode()
    assert "mood/shop keeps 62.5% (50.0% to 75.0%)" in " ".join(page.split())
