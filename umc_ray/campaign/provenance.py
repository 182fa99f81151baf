"""Where a release or a report comes from: configuration, models, data, packages."""

import datetime
import importlib.metadata
import platform
import re
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from umc_ray.campaign.documents import Training
from umc_ray.campaign.history import History
from umc_ray.config.campaign import CampaignConfig
from umc_ray.ingest.manifest import load_manifest
from umc_ray.methods.identity import fingerprint

PACKAGES = ("umc_ray", "numpy", "pyarrow", "ray", "scikit-learn", "torch")

SECRET = re.compile(r"(?<=://)[^/@\s]*@")
"""Names and passwords in URLs, such as those of a database."""


def public_config(config: CampaignConfig) -> dict[str, Any]:
    """Return the configuration as JSON values, without the passwords in its URLs."""
    values: dict[str, Any] = _without_secrets(config.model_dump(mode="json", exclude_none=True))
    return values


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return SECRET.sub("***@", value) if isinstance(value, str) else value


def provenance(history: History) -> dict[str, Any]:
    """Tell everything that decided the content of a release."""
    config = public_config(history.run.config)
    training = history.documents("training", Training)
    return {
        "campaign": history.run.config.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config,
        "config_hash": fingerprint(config),
        "rounds": history.rounds,
        "labels": history.metrics[-1].labels,
        "cost": history.metrics[-1].cost,
        "remarks": history.remarks.to_pylist(),
        "tied": int(pc.sum(history.batches["tied"].cast(pa.int64()), min_count=0).as_py()),
        "near_duplicates": {name: asdict(each) for name, each in history.checks.items()},
        "models": [
            {task: ensemble.version for task, ensemble in each.ensembles.items()}
            for each in training
        ],
        "pools": _pools(history),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def _pools(history: History) -> dict[str, dict[str, Any]]:
    """Return fingerprint and size of each domain's pool."""
    found = {}
    for domain_key in history.run.config.domains():
        manifest = load_manifest(history.run.storage, domain_key, "pool")
        found[str(domain_key)] = {"fingerprint": manifest.fingerprint, "rows": manifest.rows}
    return found


def _version(package: str) -> str | None:
    """Return a package's version; None where it runs from a source tree."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
