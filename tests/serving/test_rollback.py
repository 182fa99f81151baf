"""`umc publish`: the chosen round stays published until a new round finishes."""

import pytest

from umc_ray.campaign.campaign import publish, republish, run_campaign
from umc_ray.campaign.publish import read_published
from umc_ray.errors import StoreError

pytestmark = pytest.mark.ray


def published(campaign):
    return read_published(campaign.run.storage).round


def test_a_rollback_stays_when_a_finished_campaign_is_run_again(campaign):
    assert republish(campaign.run, None, back=True) == published(campaign) == 1
    assert run_campaign(campaign.run).new_rounds == 0
    assert published(campaign) == 1
    assert republish(campaign.run, None, back=False) == published(campaign) == 2


def test_a_round_that_was_not_published_before_a_crash_is_published_later(campaign):
    publish(campaign.run, 1)
    assert run_campaign(campaign.run).new_rounds == 0
    assert published(campaign) == 2


@pytest.mark.parametrize(("number", "back"), [(3, False), (None, True)])
def test_an_unknown_round_is_not_published(campaign, number, back):
    publish(campaign.run, 1)
    with pytest.raises(StoreError, match="round"):
        republish(campaign.run, number, back)
    assert published(campaign) == 1
