"""Check what campaigns are measured on beside their tests: shifts, and target sets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from umc_ray.config.campaign import CampaignConfig
from umc_ray.console import counted
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.inspection import Contents
from umc_ray.ingest.some_rows import SomeRows, some_rows
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

Say = Callable[[object, object], None]
"""Takes where something was found, and what."""


@dataclass(frozen=True)
class ShiftCheck:
    """What the samples of a shift are, and how many of them a pool has, too."""

    domain_key: DomainKey
    name: str
    rows: SomeRows
    in_pool: int


def check_shifts(
    config: CampaignConfig,
    storage: Storage,
    contents_of: Callable[[str], Contents],
    problem: Say,
    note: Say,
) -> Iterator[ShiftCheck]:
    """Read some of the samples that domains name as shifted, and compare them with pools.

    Args:
        config: the campaign.
        storage: its run directory.
        contents_of: returns what the pools of a task have, by its name.
        problem: is told what would stop the campaign.
        note: is told what to know.
    """
    for key, domain in config.domains().items():
        pools = hashes(contents_of(key.task)) if domain.shifted else frozenset()
        for name, source in domain.shifted.items():
            where = f"{key} shifted {name}"
            try:
                rows = some_rows(config, key, source, storage, config.robustness.samples)
            except (ConfigError, DataError) as error:
                problem(where, error)
                continue
            in_pool = sum(row.content in pools for row in rows.usable)
            if in_pool == len(rows.usable):
                problem(where, f"all {in_pool} samples are in a pool of the task, too")
            elif in_pool:
                out = "so left out where models are judged"
                note(where, f"in a pool of the task, too, {out}: {counted(in_pool, 'row')}")
            yield ShiftCheck(key, name, rows, in_pool)


def check_target(domain_key: DomainKey, target: Contents, pool: Contents, note: Say) -> None:
    """Say how many samples of a target set are in the domain's pool."""
    if there := len(hashes(target) & hashes(pool)):
        what = f"in the pool, too: {counted(there, 'row')}; they say little of what it lacks"
        note(f"{domain_key} target", what)


def hashes(contents: Contents) -> frozenset[bytes]:
    """Return the hashes of some contents."""
    return frozenset(row.tobytes() for row in contents.words_F2)
