"""What a campaign tells a monitoring system while it runs."""

import pytest

from tests.prometheus import exported
from tests.tiny import DOMAINS
from umc_ray.campaign.campaign import export_metrics

pytestmark = pytest.mark.ray


STAGES = {"ingest", "encode", "batch", "labels", "training", "scores", "bandit"}


def stages(found):
    return {key[1] for key in found if key[0] == "ray_umc_stage_seconds"}


def test_a_campaign_is_seen_by_prometheus(other_seed):
    export_metrics(other_seed, 2)
    last = other_seed.round_metrics(2)[-1].domains
    expected = {("ray_umc_round",): 2}
    for name in DOMAINS:
        expected["ray_umc_labels", name] = last[name].labels
        expected["ray_umc_accuracy", name, "audit"] = last[name].audit.utility.value
        expected["ray_umc_quarantined_rows", name] = 0

    def complete(found):
        return expected.items() <= found.items() and stages(found) >= STAGES

    # Ray forgets a gauge after 20 s, and this test may come minutes after the campaign.
    found = exported("other-seed", complete, again=other_seed.exporter.repeat)
    assert expected.items() <= found.items()
    assert stages(found) >= STAGES
    # 160 reviews and 40 as a test, 120 posts, none of them twice; two rounds
    assert found["ray_umc_rows_total", "scores"] == 2 * 320
