"""What is published: which round's specialists score new data, and how to tell that they are whole.

published.json names the ensemble of each task with a hash of its files, its label set, its encoder
and what it says of a few fixed embeddings, the canaries. Whoever loads it holds the files against
all of that, so that a half-copied or foreign model never answers.

Suffixes: N canaries, C classes, D embedding dimension.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pydantic
from pydantic import Field
from safetensors.torch import load

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.section import Section
from umc_ray.config.task import TaskConfig
from umc_ray.encoders.registry import encoder_hash
from umc_ray.errors import DataError, StoreError
from umc_ray.methods.certificates import Certificate
from umc_ray.methods.heads import Parameters
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef
from umc_ray.storage import Storage

PUBLISHED = "published.json"

CANARIES = 4
CANARY_CLASSES = 16
CANARY_TOLERANCE = 1e-3
"""Other processors round differently, by less than a hundredth of this."""


class PublishedEnsemble(Section):
    """An ensemble as it was when it was published."""

    folder: str
    specialists: tuple[str, ...]
    version: str
    hash: str
    labels: list[str]
    encoder: str
    canaries: list[list[float]]
    certificate: Certificate | None = None

    @property
    def ref(self) -> EnsembleRef:
        """Its name in the run directory."""
        return EnsembleRef(self.folder, self.specialists, self.version)


class Published(Section):
    """published.json."""

    round: int
    version: str
    ensembles: dict[str, PublishedEnsemble]
    chosen: bool = Field(False, description="by a person: `umc publish`")


@dataclass(frozen=True)
class Publication:
    """What is published, loaded and found whole."""

    manifest: Published
    ensembles: Mapping[str, Ensemble]


def publish_round(
    storage: Storage,
    config: CampaignConfig,
    number: int,
    refs: Mapping[str, EnsembleRef],
    certificates: Mapping[str, dict[str, Any] | None] = MappingProxyType({}),
    chosen: bool = False,
) -> None:
    """Name a round's ensembles as those that score new data, with the certificates of some.

    Raises:
        StoreError: a file is missing.
        DataError: the weights are broken; what was published before stays.
    """
    tasks = {
        name: {
            **_described(storage, config.tasks[name], ref),
            "certificate": certificates.get(name),
        }
        for name, ref in refs.items()
    }
    digest = hashlib.blake2b(json.dumps(tasks, sort_keys=True).encode(), digest_size=4)
    version = f"{number}-{digest.hexdigest()}"
    manifest = {"round": number, "version": version, "ensembles": tasks, "chosen": chosen}
    storage.write_json(PUBLISHED, manifest)


def read_published(storage: Storage) -> Published:
    """Read what is published.

    Raises:
        StoreError: nothing is, or it cannot be read.
        DataError: published.json is not as `publish_round` writes it.
    """
    data = storage.read_bytes(PUBLISHED)
    try:
        return Published.model_validate_json(data)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(step) for step in problem["loc"])
        message = f"{PUBLISHED} of {storage.root}: {where}: {problem['msg']}"
        raise DataError(message) from error


def load_published(storage: Storage, config: CampaignConfig, manifest: Published) -> Publication:
    """Load the published ensembles and hold them against their description.

    Raises:
        StoreError: a file cannot be read.
        DataError: what was loaded is not what was published, or not what the campaign needs.
    """
    unknown = manifest.ensembles.keys() - config.tasks.keys()
    if unknown:
        raise DataError(
            f"{manifest.version} has tasks that {config.name} has not: {sorted(unknown)}"
        )
    ensembles = {
        name: _verified(storage, config.tasks[name], each)
        for name, each in manifest.ensembles.items()
    }
    return Publication(manifest, ensembles)


def _verified(storage: Storage, task: TaskConfig, manifest: PublishedEnsemble) -> Ensemble:
    if manifest.labels != task.labels:
        raise DataError(f"{manifest.folder} has the labels {manifest.labels}, asked: {task.labels}")
    if manifest.encoder != encoder_hash(task.encoder):
        raise DataError(f"{manifest.folder} was trained on the features of another encoder")
    files = _files(storage, manifest.ref)
    if manifest.hash != _hash(files):
        raise DataError(f"the files of {manifest.folder} are not those that were published")
    heads = _heads(files)
    ensemble = _ensemble(heads, files)
    found_NC = _canaries(ensemble, heads)
    if np.shape(found_NC) != np.shape(manifest.canaries) or not np.allclose(
        found_NC, manifest.canaries, atol=CANARY_TOLERANCE
    ):
        raise DataError(
            f"{manifest.folder} computes other probabilities than where it was published"
        )
    return ensemble


def _described(storage: Storage, task: TaskConfig, ref: EnsembleRef) -> dict[str, Any]:
    files = _files(storage, ref)
    heads = _heads(files)
    return {
        **ref.to_json(),
        "hash": _hash(files),
        "labels": task.labels,
        "encoder": encoder_hash(task.encoder),
        "canaries": _canaries(_ensemble(heads, files), heads),
    }


def _files(storage: Storage, ref: EnsembleRef) -> list[tuple[bytes, bytes]]:
    """Read the weights and the calibration of each specialist."""
    folders = [f"{ref.folder}/{name}" for name in ref.specialists]
    return [
        (
            storage.read_bytes(f"{folder}/model.safetensors"),
            storage.read_bytes(f"{folder}/calibration.json"),
        )
        for folder in folders
    ]


def _hash(files: list[tuple[bytes, bytes]]) -> str:
    digests = [hashlib.blake2b(data).digest() for pair in files for data in pair]
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()


def _heads(files: list[tuple[bytes, bytes]]) -> list[Parameters]:
    return [load(weights) for weights, _ in files]


def _ensemble(heads: list[Parameters], files: list[tuple[bytes, bytes]]) -> Ensemble:
    return Ensemble(heads, [json.loads(each)["temperature"] for _, each in files])


def _canaries(ensemble: Ensemble, heads: list[Parameters]) -> list[list[float]]:
    """Say what an ensemble thinks of fixed embeddings: the first classes of its mean."""
    dimension = heads[0].get("hidden_weight", heads[0]["weight"]).shape[1]
    rng = np.random.default_rng(0)
    x_ND = rng.standard_normal((CANARIES, dimension), dtype=np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    mean_NC = ensemble.probabilities(x_ND).mean(0)[:, :CANARY_CLASSES]
    if not bool(mean_NC.isfinite().all()):
        raise DataError("the probabilities of an ensemble are not numbers: its weights are broken")
    values: list[list[float]] = mean_NC.tolist()
    return values


def round_before(storage: Storage) -> int:
    """Return the round to go back to, one before the published one.

    Raises:
        StoreError: there is none.
    """
    number = read_published(storage).round
    if number == 1:
        raise StoreError(f"round 1 of {storage.root} is published, there is none before it")
    return number - 1
