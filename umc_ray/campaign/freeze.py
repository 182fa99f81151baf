"""Bind a run directory to its configuration and to the format of its files."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from umc_ray.campaign.precision import hash_key, precision_key
from umc_ray.campaign.state import RunState
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import NETWORKS
from umc_ray.encoders.precision import precision_of
from umc_ray.encoders.registry import settings_hash
from umc_ray.errors import ConfigError, StoreError
from umc_ray.ingest.manifest import is_ingested
from umc_ray.records import DomainKey

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

LABELS_ADVICE = "use umc labels to rename, merge or add labels; otherwise "

Values = dict[str, Any]  # as in the campaign file


def freeze(run: RunState) -> None:
    """Bind the run directory to its configuration.

    Domains may be added and the sections in MAY_CHANGE may change; anything else would mix the
    results of two campaigns. What no ingested domain has used yet may change too.

    Raises:
        ConfigError: names the first key that may not change.
        StoreError: another version of umc_ray wrote the run directory.
    """
    now = frozen(run.config)
    if run.storage.exists("campaign.json"):
        before = run.storage.read_json("campaign.json")
        check_format(run, before)
        changed = [
            key
            for key, value in before.items()
            if now.get(key) != value and key not in KEYS_THAT_MAY_CHANGE
        ]
        known = [each for each in _domains(before) if is_ingested(run.storage, each)]
        for key in changed:
            if any(_decides(key, domain_key) for domain_key in known):
                advice = LABELS_ADVICE if key.endswith(".labels") else ""
                raise ConfigError(
                    f"{key} is {now.get(key)!r}, but {run.storage.root} was begun with "
                    f"{before[key]!r}: {advice}give the campaign another name, or change it back"
                )
        if changed:
            _forget_tests(run, known)
    run.storage.write_json("campaign.json", now, if_new=True)
    run.storage.seal(["campaign.json"])


def _domains(values: Values) -> list[DomainKey]:
    """Return the domains of a frozen configuration."""
    found = (re.fullmatch(r"tasks\.(.+)\.domains\.(.+)", key) for key in values)
    return [DomainKey(*match.groups()) for match in found if match]


def _decides(key: str, domain_key: DomainKey) -> bool:
    """Whether a key says something of a domain: its own, its task's, or a general one."""
    task = f"tasks.{domain_key.task}"
    if key.startswith(f"{task}.domains."):
        return key == f"{task}.domains.{domain_key.domain}"
    return key.startswith(f"{task}.") or not key.startswith("tasks.")


def _forget_tests(run: RunState, known: Sequence[DomainKey]) -> None:
    """Have the tests of domains whose pool was not ingested read again, by the new keys."""
    for domain_key in run.config.domains():
        if domain_key not in known:
            run.storage.delete(f"pool/test/{domain_key}")


def check_format(run: RunState, values: Values) -> None:
    """Refuse a run directory whose files this version does not read.

    Raises:
        StoreError: says which version reads it.
    """
    found = values.get("format", 1)
    if found != FORMAT:
        older = "umc_ray 0.1" if found == 1 else "the umc_ray that began it"
        reads = older if found < FORMAT else "a newer umc_ray"
        raise StoreError(
            f"{run.storage.root} has files of format {found}, this version reads {FORMAT}. "
            f"Finish or release it with {reads}, or give the campaign another name: labels of "
            "a release can be used as known labels of a new campaign"
        )


def frozen(config: CampaignConfig) -> Values:
    """Return what decides the results, as flat keys."""
    values = dict(_flat(config.model_dump(exclude={*MAY_CHANGE, "tasks"})))
    for key in KEYS_THAT_MAY_CHANGE:
        del values[key]
    values["format"] = FORMAT
    for name, task in config.tasks.items():
        values[f"tasks.{name}.kind"] = task.kind
        values[f"tasks.{name}.input"] = task.payload
        values[f"tasks.{name}.labels"] = list(task.task_kind().labels)
        if task.range is not None:
            values[f"tasks.{name}.range"] = list(task.range)
        for encoder, each in task.named_encoders.items():
            if each.kind in NETWORKS:
                values[precision_key(name, encoder)] = precision_of(each)
            values[hash_key(name, encoder)] = settings_hash(each)
        for domain, columns in task.domains.items():
            values[f"tasks.{name}.domains.{domain}"] = _read_by(columns)
    return values


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
