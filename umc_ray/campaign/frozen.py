"""What a run directory is bound to: campaign.json, the configuration that it was begun with.

Whoever reads results of a run by its campaign file compares the two first: with labels in another
order, another seed or a domain less, the file says something else than what was done. `umc status`
does so, too, without the modules that compute: only freeze.py reads the weights of encoders.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from umc_ray.campaign.verify import check_files
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import NETWORKS
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.manifest import is_ingested
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

FROZEN = "campaign.json"

FORMAT = 3
"""Of the files of a run directory; version 0.1 wrote format 1, without a number.

Format 3 knows what was read from the sources, so that they can grow; format 2 was never released.
"""

MAY_CHANGE = (
    "budget",
    "stop",
    "allocation",
    "selection",
    "near_duplicates",
    "refine",
    "annotation",
    "certificate",
    "fairness",
    "robustness",
    "placement",
    "release",
    "storage",
)
"""Sections that may change while a campaign runs: they decide what comes, not what was done."""

KEYS_THAT_MAY_CHANGE = (
    "ingest.changed_sources",
    "training.rescore",
    "training.refit_growth",
    "training.workers",
    "training.use_gpu",
)
"""Keys of other sections that may: they decide how and where work is done, not its results."""

ADVICE = "change it back, or give the campaign another name"
LABELS_ADVICE = (
    "repeat umc labels if it was interrupted; otherwise change it back and use umc labels to "
    "rename, merge or add labels, or give the campaign another name"
)

Values = dict[str, Any]  # as in the campaign file


def check_frozen(storage: Storage, config: CampaignConfig, but: Sequence[str] = ()) -> None:
    """Refuse a campaign file that is not the one that a run directory was begun with.

    The weights of encoders are not read; a run directory that was not begun is bound to nothing.

    Args:
        storage: the run directory.
        config: what the campaign file says.
        but: keys that may differ.

    Raises:
        ConfigError: names the first key that has changed.
        StoreError: another version of umc_ray wrote the run directory, or campaign.json is lost.
    """
    if (before := read_frozen(storage)) is not None:
        now = settings(config) | _encoders_as(before, config)
        now |= {key: before[key] for key in but if key in before}
        changed_unused(storage, before, now)


def read_frozen(storage: Storage) -> Values | None:
    """Return what a run directory was begun with; None if it was not begun.

    Raises:
        StoreError: it has rounds and does not say so.
    """
    if storage.exists(FROZEN):
        values: Values = storage.read_json(FROZEN)
        return values
    check_files(storage)
    if storage.exists("rounds/0001/batch.parquet"):
        raise StoreError(
            f"{storage.root} has rounds and no {FROZEN}, so nothing says what they were made "
            "with: copy it from a backup"
        )
    return None


def changed_unused(storage: Storage, before: Values, now: Values) -> list[str]:
    """Return the keys that have changed, none of which an ingested domain has used.

    Raises:
        ConfigError: names the first key that may not change.
        StoreError: another version of umc_ray wrote the run directory.
    """
    check_format(storage, before)
    changed = [
        key
        for key, value in before.items()
        if now.get(key) != value and key not in KEYS_THAT_MAY_CHANGE
    ]
    known = ingested(storage, before) if changed else []
    for key in changed:
        if any(_decides(key, domain_key) for domain_key in known):
            advice = LABELS_ADVICE if key.endswith(".labels") else ADVICE
            found = f"is {now[key]!r}" if key in now else "is missing"
            raise ConfigError(
                f"{key} {found}, but {storage.root} was begun with {before[key]!r}: {advice}"
            )
    return changed


def ingested(storage: Storage, values: Values) -> list[DomainKey]:
    """Return the domains of a frozen configuration whose pool was read."""
    found = (re.fullmatch(r"tasks\.(.+)\.domains\.(.+)", key) for key in values)
    domains = [DomainKey(*match.groups()) for match in found if match]
    return [each for each in domains if is_ingested(storage, each)]


def _decides(key: str, domain_key: DomainKey) -> bool:
    """Whether a key says something of a domain: its own, its task's, or a general one."""
    task = f"tasks.{domain_key.task}"
    if key.startswith(f"{task}.domains."):
        return key == f"{task}.domains.{domain_key.domain}"
    return key.startswith(f"{task}.") or not key.startswith("tasks.")


def check_format(storage: Storage, values: Values) -> None:
    """Refuse a run directory whose files this version does not read.

    Raises:
        StoreError: says which version reads it.
    """
    found = values.get("format", 1)
    if found != FORMAT:
        older = "umc_ray 0.1" if found == 1 else "the umc_ray that began it"
        reads = older if found < FORMAT else "a newer umc_ray"
        raise StoreError(
            f"{storage.root} has files of format {found}, this version reads {FORMAT}. "
            f"Finish or release it with {reads}, or give the campaign another name: labels of "
            "a release can be used as known labels of a new campaign"
        )


def settings(config: CampaignConfig) -> Values:
    """Return what decides the results, as flat keys, without the encoders."""
    values = dict(_flat(config.model_dump(exclude={*MAY_CHANGE, "tasks"})))
    for key in KEYS_THAT_MAY_CHANGE:
        del values[key]
    values["format"] = FORMAT
    for name, task in config.tasks.items():
        values |= {f"tasks.{name}.{key}": value for key, value in _of_task(task).items()}
    return values


def _of_task(task: TaskConfig) -> Values:
    values: Values = {"kind": task.kind, "input": task.payload, "labels": list(task.labels)}
    if task.range is not None:
        values["range"] = list(task.range)
    domains = {f"domains.{name}": _read_by(domain) for name, domain in task.domains.items()}
    return values | domains


def _encoders_as(before: Mapping[str, Any], config: CampaignConfig) -> Values:
    """Return what is frozen of the encoders that a file names, with its own precisions."""
    values: Values = {}
    for name, task in config.tasks.items():
        for encoder, each in task.named_encoders.items():
            of_hash, of_precision = hash_key(name, encoder), precision_key(name, encoder)
            values[of_hash] = before.get(of_hash)
            is_said = each.kind in NETWORKS and each.precision != "auto"
            values[of_precision] = each.precision if is_said else before.get(of_precision)
    return values


def precision_key(task: str, encoder: str) -> str:
    """Name an encoder's precision in campaign.json, so that it sorts before the hash."""
    return f"tasks.{task}.encoder_precision.{encoder}"


def hash_key(task: str, encoder: str) -> str:
    """Name an encoder's hash in campaign.json."""
    return f"tasks.{task}.encoders.{encoder}"


def _read_by(domain: DomainConfig) -> Values:
    """Return what decides how a domain's sources are read; newer options only if they are used."""
    mapping = domain.model_dump(include={"text", "image", "key", "label", "ratings"})
    how = domain.model_dump(include={"encoding", "delimiter", "label_names", "embedding"})
    set_now = {key: value for key, value in how.items() if value is not None}
    lists = domain.model_dump(include={"columns", "keep", "groups"})
    published = domain.published("pool").model_dump(include={"format", "split", "task"})
    more = {**lists, **published}
    return mapping | set_now | {key: value for key, value in more.items() if value}


def _flat(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
