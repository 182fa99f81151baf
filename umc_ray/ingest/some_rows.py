"""Read some labeled samples of a source, without bringing them in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import count, islice

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.source import Source
from umc_ray.errors import DataError
from umc_ray.ingest.layouts.registry import list_split, with_layouts
from umc_ray.ingest.sampling import candidate
from umc_ray.ingest.sources import common_folder
from umc_ray.ingest.stage import Reader, each_checked, split_work
from umc_ray.ingest.validate import Rejected, Row, check, rules_of
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

MOST_READ = 1_000_000
"""Rows of a source among which some are drawn."""


@dataclass(frozen=True)
class SomeRows:
    """Rows that were drawn of a source, usable or not; `read` is the number drawn from."""

    usable: tuple[Row, ...]
    rejected: tuple[Rejected, ...]
    read: int


def some_rows(
    config: CampaignConfig,
    domain_key: DomainKey,
    source: Source | str | list[str],
    storage: Storage,
    most: int,
) -> SomeRows:
    """Read labeled samples as those of a domain's test split: all, or `most` drawn by content.

    Raises:
        ConfigError: the domain cannot have labeled samples.
        DataError: the source is missing, lacks a column, or has too many bad rows, or no others.
    """
    domain = config.domain(domain_key)
    others: dict[str, object] = {"ratings": None, "key": None, "keep": []}
    alike = domain.model_copy(update={"test": source, **others})
    rules = rules_of(config.reduced_to(domain_key, alike), domain_key, "test")
    sources = alike.sources("test")
    rules = with_layouts(rules, sources)
    listing = list_split(rules, sources, exclude=storage.root)
    reader = Reader(storage, "", common_folder(listing.files), rules)
    works = split_work([file.uri for file in listing.all], rules.are_images)
    found = (each for work in works for each in reader.find(work, Counter()))
    read = count()  # is asked for the next number once for each row
    candidates = (candidate(rules, each) for each in islice(found, MOST_READ) if next(read) >= 0)
    chosen = nsmallest(most, candidates, key=lambda each: (each.mark, each.found.key))
    checked = list(each_checked(rules, lambda each: check(rules, each.found), iter(chosen)))
    bad = [each for each in checked if isinstance(each, Rejected)]
    _refuse(", ".join(sources), bad, len(checked), config.ingest.max_bad_share)
    usable = tuple(each for each in checked if isinstance(each, Row))
    return SomeRows(usable, tuple(bad), next(read))


def _refuse(source: str, bad: Sequence[Rejected], rows: int, max_share: float) -> None:
    if not rows:
        raise DataError(f"{source} has no row")
    if len(bad) > max_share * rows or len(bad) == rows:
        raise DataError(
            f"{len(bad)} of {rows} rows of {source} cannot be used, such as {bad[0]}. "
            "ingest.max_bad_share allows fewer"
        )
