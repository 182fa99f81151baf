"""A campaign whose audits say that selection does not pay goes on with random draws."""

import pytest
import yaml

from tests.tiny import ARMS
from umc_ray.campaign import run_campaign
from umc_ray.config import load_campaign
from umc_ray.run import Run

pytestmark = pytest.mark.ray

WORSE = {"of": "posts", "n": 90, "selected": 54, "random": 63, "p": 0.004, "worse": True}


def test_a_domain_is_drawn_at_random_as_long_as_selection_is_worse(campaign):
    values = yaml.safe_load(campaign.path.read_text())
    values["budget"]["labels"] = 120
    campaign.path.write_text(yaml.safe_dump(values))
    run = Run(load_campaign(campaign.path))
    training = run.storage.read_json("rounds/0002/training.json")
    training["benefit"] = {"mood/posts": WORSE, "mood/reviews": {**WORSE, "worse": False}}
    run.storage.write_json("rounds/0002/training.json", training)
    assert run_campaign(run).rounds == 4
    drawn = [at_random(run, number) for number in (3, 4)]
    verdicts = run.storage.read_json("rounds/0003/training.json")["benefit"]
    assert set(verdicts) == set(ARMS)
    assert (
        run.storage.read_json("rounds/0003/metrics.json")["arms"]["mood/posts"]["benefit"]
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
