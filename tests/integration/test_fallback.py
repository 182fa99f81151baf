"""A campaign whose audits say that selection does not pay goes on with random draws."""

import pytest
import yaml

from tests.tiny import DOMAINS
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign

pytestmark = pytest.mark.ray

WORSE = {"of": "posts", "n": 90, "selected": 54, "random": 63, "p": 0.004, "harmful": True}


def test_a_domain_is_drawn_at_random_as_long_as_selection_is_worse(campaign):
    values = yaml.safe_load(campaign.path.read_text())
    values["budget"]["labels"] = 120
    campaign.path.write_text(yaml.safe_dump(values))
    run = Run(load_campaign(campaign.path))
    training = run.storage.read_json("rounds/0002/training.json")
    training["selection_tests"] = {"mood/posts": WORSE, "mood/reviews": {**WORSE, "harmful": False}}
    run.storage.write_json("rounds/0002/training.json", training)
    assert run_campaign(run).rounds == 4
    drawn = [at_random(run, number) for number in (3, 4)]
    verdicts = run.storage.read_json("rounds/0003/training.json")["selection_tests"]
    assert set(verdicts) == set(DOMAINS)
    assert (
        run.storage.read_json("rounds/0003/metrics.json")["domains"]["mood/posts"]["selection_test"]
        == (verdicts["mood/posts"])
    )
    # Both domains are clean: the first honest verdict lifts what was made up.
    assert drawn == [{"posts"}, set()]


def at_random(run, number):
    """Name the domains of which all that was chosen was drawn."""
    batch = run.storage.read_table(f"rounds/{number:04d}/batch.parquet").to_pylist()
    chosen = [row for row in batch if not row["audit"]]
    drawn = {row["domain"] for row in chosen if row["why"].startswith("drawn at random: of 90")}
    assert (
        not {row["domain"] for row in chosen if "among the most informative" in row["why"]} & drawn
    )
    return drawn
