"""Bind a run directory to its configuration and to the format of its files."""

from collections.abc import Iterator
from typing import Any

from umc_ray.campaign.state import RunState
from umc_ray.config.campaign import CampaignConfig
from umc_ray.encoders.registry import encoder_hash
from umc_ray.errors import ConfigError, StoreError

FORMAT = 2
"""Of the files of a run directory; version 0.1 wrote format 1, without a number."""

MAY_CHANGE = (
    "budget",
    "stop",
    "allocation",
    "selection",
    "near_duplicates",
    "annotation",
    "certificate",
    "placement",
    "storage",
)
"""Sections that may change while a campaign runs: they decide what comes, not what was done."""

Values = dict[str, Any]  # as in the campaign file


def freeze(run: RunState) -> None:
    """Bind the run directory to its configuration.

    Domains may be added and the sections in MAY_CHANGE may change; anything else would mix the
    results of two campaigns.

    Raises:
        ConfigError: names the first key that may not change.
        StoreError: another version of umc_ray wrote the run directory.
    """
    now = frozen(run.config)
    if run.storage.exists("campaign.json"):
        before = run.storage.read_json("campaign.json")
        check_format(run, before)
        for key, value in before.items():
            if now.get(key) != value:
                raise ConfigError(
                    f"{key} is {now.get(key)!r}, but {run.storage.root} was begun with {value!r}: "
                    "give the campaign another name, or change it back"
                )
    run.storage.write_json("campaign.json", now)


def check_format(run: RunState, values: Values) -> None:
    """Refuse a run directory whose files this version does not read.

    Raises:
        StoreError: says which version reads it.
    """
    found = values.get("format", 1)
    if found != FORMAT:
        reads = "umc_ray 0.1" if found == 1 else "a newer umc_ray"
        raise StoreError(
            f"{run.storage.root} has files of format {found}, this version reads {FORMAT}. "
            f"Finish or release it with {reads}, or give the campaign another name: labels of "
            "a release can be used as known labels of a new campaign"
        )


def frozen(config: CampaignConfig) -> Values:
    """Return what decides the results, as flat keys."""
    values = dict(_flat(config.model_dump(exclude={*MAY_CHANGE, "tasks"})))
    values["format"] = FORMAT
    for name, task in config.tasks.items():
        values[f"tasks.{name}.kind"] = task.kind
        values[f"tasks.{name}.input"] = task.payload
        values[f"tasks.{name}.labels"] = list(task.task_kind().labels)
        for encoder, each in task.named_encoders.items():
            values[f"tasks.{name}.encoders.{encoder}"] = encoder_hash(each)
        for domain, columns in task.domains.items():
            mapping = columns.model_dump(include={"text", "image", "key", "label", "ratings"})
            values[f"tasks.{name}.domains.{domain}"] = mapping
    return values


def _flat(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
