"""The random control of a campaign: run, resumed, and found by the report."""

from pathlib import Path

import pytest

from tests import tiny
from umc_ray.campaign.control import find_variants
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.long]


@pytest.fixture
def campaign(reference, tmp_path):
    """A copy of the finished campaign of three rounds."""
    folder = tmp_path / "copy"
    tiny.copy_campaign(reference.storage.root.removesuffix("/runs/tiny"), folder)
    return folder / "campaign.yaml"


@pytest.mark.slow
def test_controls_are_run_once_with_the_pools_of_the_campaign_and_compared(campaign, umc_here):
    code, said = umc_here("control", campaign)
    assert code == 0, said
    assert "tiny-control-0: 3 rounds, the budget of 90 labels is spent" in said
    runs = campaign.parent / "runs"
    before = tiny.results(runs / "tiny-control-0")
    for name in ("metrics.json", "bandit.json"):  # as if it had been killed before it stored them
        (runs / f"tiny-control-0/rounds/0003/{name}").unlink()

    code, said = umc_here("control", campaign, "--seeds", 2, "--paired")
    assert code == 0, said
    assert {path.name for path in runs.iterdir()} == {
        *("tiny", "tiny-control-0", "tiny-control-1", "tiny-seed-1")
    }
    assert tiny.results(runs / "tiny-control-0") == before
    assert (runs / "tiny-control-0/rounds/0003/bandit.json").exists()
    for run in find_variants(campaign, "control"):
        check_control(run, Storage(str(runs / "tiny")))
    assert tiny.results(runs / "tiny-control-1") != before

    code, said = umc_here("report", campaign)
    assert code == 0, said
    page = (runs / "tiny/report/index.html").read_text()
    assert "Comparison with 2 controls" in page
    assert "comparison of the means of 2 pairs" in page
    code, said = umc_here("plan", campaign, "--accuracy", 1)
    assert code == 0, said
    assert "mood: reached" in said
    code, said = umc_here(
        "report", campaign, "--control", campaign.parent / "campaign-control-0.yaml"
    )
    assert code == 0, said
    assert "tiny-control-0”" in (runs / "tiny/report/index.html").read_text()


def check_control(run, ours):
    """Nothing was read or encoded again, and nothing but random samples was asked about."""
    for key in (*ours.keys("pool"), *ours.keys("features")):
        both = (storage.path(key) for storage in (run.storage, ours))
        assert len({Path(path).stat().st_ino for path in both}) == 1
    rounds = [key for key in run.storage.keys("rounds") if key.endswith("batch.parquet")]
    why = {why for key in rounds for why in run.storage.read_table(key)["why"].to_pylist()}
    assert why == {"drawn at random", "drawn at random, to measure accuracy"}
    labels = [run.storage.read_table(key.replace("batch", "labels")) for key in rounds]
    domains = [table["domain"].to_pylist() for table in labels]
    assert [each.count("posts") for each in domains] == [15, 15, 15]


def test_a_control_would_ask_people_so_it_does_not_run(tmp_path, umc_here):
    values = tiny.campaign(tmp_path, annotation={"backend": "sheet", "votes": 1})
    path = tiny.write_campaign(tmp_path, values)
    code, said = umc_here("control", path)
    assert code == 1
    assert said.startswith("error: a control needs known answers, but in tiny people answer")
    assert not list(tmp_path.glob("*control*"))
