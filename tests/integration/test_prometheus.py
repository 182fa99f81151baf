"""What a campaign tells a monitoring system while it runs."""

import pytest

from tests.prometheus import exported
from tests.tiny import DOMAINS
from umc_ray.campaign.campaign import round_metrics, show

pytestmark = pytest.mark.ray


def test_a_campaign_is_seen_by_prometheus(other_seed):
    show(other_seed, 2)
    last = round_metrics(other_seed.storage, 2)[-1]["domains"]
    expected = {("ray_umc_round",): 2}
    for domain_key in DOMAINS:
        expected["ray_umc_labels", domain_key] = last[domain_key]["labels"]
        expected["ray_umc_accuracy", domain_key, "audit"] = last[domain_key]["audit"]["accuracy"]
        expected["ray_umc_quarantined_rows", domain_key] = 0
    # Ray forgets a gauge after 20 s, and this test may come minutes after the campaign.
    found = exported("other-seed", last=expected, again=other_seed.metrics.repeat)
    assert expected.items() <= found.items()
    # 160 reviews and 40 as a test, 120 posts, none of them twice; two rounds
    assert found["ray_umc_rows_total", "scores"] == 2 * 320
    stages = {key[1] for key in found if key[0] == "ray_umc_stage_seconds"}
    assert {"ingest", "encode", "batch", "labels", "training", "scores", "bandit"} <= stages
