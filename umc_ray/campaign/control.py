"""Controls of a campaign: the same samples, models and budget, with batches drawn at random.

A control is a campaign of its own. Its file and its run directory stand beside the campaign's, each
with the seed in its name. The campaign itself can be repeated with other seeds in the same way, so
that both can be compared seed by seed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from umc_ray.campaign.freeze import frozen
from umc_ray.campaign.frozen import FROZEN
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import RunState
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.loading import load_campaign
from umc_ray.config.yaml_file import read_yaml
from umc_ray.errors import ConfigError

Variant = Literal["control", "seed"]
"""A control of a campaign, or the campaign itself with another seed."""

HEADER = "# Written by `umc control`; do not edit: "
OWN = ("name", "seed")
"""What may differ between runs that have the same samples and features."""

INPUTS = (
    "pool",
    "oracle",
    "kept",
    "index",
    "sources",
    "quarantine",
    "encoders",
    "features",
    "lower",
)
"""Tables of a run directory that its sources and encoders decide."""


def check_answers(config: CampaignConfig) -> None:
    """Make sure that a control would not ask people.

    Raises:
        ConfigError: it would; says what is possible instead.
    """
    backend = config.annotation
    if backend.traits.knows_answers:
        return
    raise ConfigError(
        f"a control needs known answers, but in {config.name} people answer (annotation.backend: "
        f"{backend.backend}): they would have to label {config.budget.labels} more samples that "
        "are drawn at random. Instead, see in `umc report` what the audits say of selection; or "
        "give a campaign sources that are labeled already, and annotation.backend: replay"
    )


def write_variants(campaign: Path, seeds: int, paired: bool) -> list[Path]:
    """Write the files of so many controls and, if paired, of the campaign with their seeds.

    The campaign's own seed is the first: only its control is written.

    Raises:
        ConfigError: there is a file of such a name that is not a variant.
    """
    first = load_campaign(campaign).seed
    paths = []
    for seed in range(first, first + seeds):
        paths.append(write_variant(campaign, "control", seed))
        if paired and seed != first:
            paths.append(write_variant(campaign, "seed", seed))
    return paths


def write_variant(campaign: Path, variant: Variant, seed: int) -> Path:
    """Write the file of a control, or of the campaign with another seed; return its path.

    Raises:
        ConfigError: there is a file of this name that is not a variant.
    """
    config, values = load_campaign(campaign), read_yaml(campaign).values
    values = {**values, "name": f"{config.name}-{variant}-{seed}", "seed": seed}
    if variant == "control":
        values = _at_random(values)
    path = campaign.with_name(f"{campaign.stem}-{variant}-{seed}.yaml")
    if path.exists() and not path.read_text(encoding="utf-8").startswith(HEADER):
        raise ConfigError(f"{path} is not a file of `umc control`: rename it")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path.write_text(f"{HEADER}{campaign.name} decides\n{text}", encoding="utf-8")
    return path


def _at_random(values: dict[str, Any]) -> dict[str, Any]:
    """Draw batches at random, split the budget evenly, and spend all of it on the pool."""
    changed = {
        **values,
        "selection": {**values.get("selection", {}), "strategy": "random"},
        "allocation": {**values.get("allocation", {}), "policy": "uniform"},
    }
    for name in ("stop", "refine"):
        changed.pop(name, None)
    return changed


def find_variants(campaign: Path, variant: Variant) -> list[Run]:
    """Open the variants beside a campaign file that have a finished round, in order of seeds."""
    name = re.compile(rf"{re.escape(campaign.stem)}-{variant}-(\d+)\.yaml")
    by_seed = {
        int(match[1]): path
        for path in campaign.parent.iterdir()
        if (match := name.fullmatch(path.name))
    }
    runs = [Run(load_campaign(by_seed[seed])) for seed in sorted(by_seed)]
    return [run for run in runs if run.finished_rounds]


def share_inputs(run: RunState, others: Sequence[RunState]) -> None:
    """Take over pools and features from the first of other runs that has the same ones.

    A run that has begun has its own: its sources may have grown since. On one disk, both run
    directories then have the same files: none is ever changed in place.
    """
    donor = next((each for each in others if _has_same_inputs(run, each)), None)
    if donor is None or run.storage.exists(FROZEN):
        return
    keys = [key for table in INPUTS for key in donor.storage.keys(table)]
    for key in sorted(keys, key=_is_manifest):  # a manifest says that all other files are there
        if not run.storage.exists(key):
            run.storage.copy(key, donor.storage)


def _has_same_inputs(run: RunState, other: RunState) -> bool:
    """Whether all that decided another run's samples and features decides this run's, too."""
    if run.storage.root == other.storage.root or not other.storage.exists(FROZEN):
        return False
    now, before = frozen(run.config), other.storage.read_json(FROZEN)
    return all(now.get(key) == value for key, value in before.items() if key not in OWN)


def _is_manifest(key: str) -> bool:
    return key.endswith("/manifest.json")
