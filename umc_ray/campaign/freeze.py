"""Bind a run directory to its configuration: campaign.json, with the weights of the encoders."""

from collections.abc import Sequence

from umc_ray.campaign.frozen import (
    FROZEN,
    Values,
    changed_unused,
    hash_key,
    ingested,
    precision_key,
    read_frozen,
    settings,
)
from umc_ray.campaign.state import RunState
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.encoder import NETWORKS
from umc_ray.encoders.precision import precision_of
from umc_ray.encoders.registry import settings_hash
from umc_ray.records import DomainKey


def freeze(run: RunState) -> None:
    """Bind the run directory to its configuration.

    Domains may be added and the sections in MAY_CHANGE may change; anything else would mix the
    results of two campaigns. What no ingested domain has used yet may change too.

    Raises:
        ConfigError: names the first key that may not change.
        StoreError: another version of umc_ray wrote the run directory.
    """
    now = frozen(run.config)
    if run.storage.exists(FROZEN):
        before = run.storage.read_json(FROZEN)
        if changed_unused(run.storage, before, now):
            _forget_tests(run, ingested(run.storage, before))
    run.storage.write_json(FROZEN, now, if_new=True)
    run.storage.seal([FROZEN])


def check_encoders(run: RunState) -> None:
    """Refuse what `check_frozen` does, and encoders with other weights or settings.

    Raises:
        ConfigError: names the first key that has changed, or weights that are not there.
        StoreError: another version of umc_ray wrote the run directory, or campaign.json is lost.
    """
    if (before := read_frozen(run.storage)) is not None:
        changed_unused(run.storage, before, frozen(run.config))


def _forget_tests(run: RunState, known: Sequence[DomainKey]) -> None:
    """Have the tests of domains whose pool was not ingested read again, by the new keys."""
    for domain_key in run.config.domains():
        if domain_key not in known:
            run.storage.delete(f"pool/test/{domain_key}")


def frozen(config: CampaignConfig) -> Values:
    """Return what decides the results, as flat keys."""
    values = settings(config)
    for name, task in config.tasks.items():
        for encoder, each in task.named_encoders.items():
            if each.kind in NETWORKS:
                values[precision_key(name, encoder)] = precision_of(each)
            values[hash_key(name, encoder)] = settings_hash(each)
    return values
