"""What is published: which round's specialists score new data, and how to tell that they are whole.

published.json names the ensemble of each task with a hash of its files, its kind and labels, its
encoders, and its outputs for a few fixed embeddings, the canaries. Whoever loads it compares the
files with all of that, so that a half-copied or foreign model never answers.

Suffixes: N canaries, C outputs, D embedding dimension.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pydantic
from pydantic import Field

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.section import Section
from umc_ray.config.task import TaskConfig
from umc_ray.encoders.registry import encoder_hash
from umc_ray.errors import DataError, StoreError
from umc_ray.methods.certificates import Certificate
from umc_ray.passes.encode import Encoding
from umc_ray.passes.outputs import output_encodings
from umc_ray.specialists.ensemble import (
    Ensemble,
    EnsembleRef,
    heads_key,
    load_ensemble,
    load_heads,
)
from umc_ray.specialists.specialist import outputs_of
from umc_ray.storage import Storage

PUBLISHED = "published.json"

NOT_LOADED = ("held_out.safetensors", "report.json")
"""Files of a specialist that say how it was trained."""

CANARIES = 4
CANARY_OUTPUTS = 16
CANARY_TOLERANCE = 1e-3
"""Other processors round differently, by less than a hundredth of this."""


class PublishedEnsemble(Section):
    """An ensemble as it was when it was published."""

    folder: str
    specialists: tuple[str, ...]
    version: str
    tuned: tuple[tuple[str, str], ...] = ()
    hash: str
    kind: str
    labels: list[str]
    encoders: dict[str, str] = Field(description="hash of each encoder, by name")
    canaries: list[list[float]]
    certificate: Certificate | None = None

    @property
    def ref(self) -> EnsembleRef:
        """Its name in the run directory."""
        return EnsembleRef(self.folder, self.specialists, self.version, self.tuned)


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
    tuned: Mapping[str, Mapping[str, Encoding]]  # what computes outputs, by task and reader's name
    heads: Mapping[str, Ensemble]  # without fine-tuned specialists, of tasks that have some


def publish_round(
    storage: Storage,
    config: CampaignConfig,
    number: int,
    refs: Mapping[str, EnsembleRef],
    certificates: Mapping[str, Certificate | None] = MappingProxyType({}),
    chosen: bool = False,
) -> None:
    """Publish a round's ensembles as those that score new data, with the certificates of some.

    Raises:
        StoreError: a file is missing.
        DataError: the weights are broken; what was published before stays.
    """
    ensembles = {
        name: _described(storage, config.tasks[name], ref, certificates.get(name))
        for name, ref in refs.items()
    }
    described = {name: each.model_dump(mode="json") for name, each in ensembles.items()}
    digest = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=4)
    version = f"{number}-{digest.hexdigest()}"
    manifest = Published(round=number, version=version, ensembles=ensembles, chosen=chosen)
    storage.write_json(PUBLISHED, manifest.model_dump(mode="json"))
    storage.seal([PUBLISHED])


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
        name: load_verified(storage, config.tasks[name], each)
        for name, each in manifest.ensembles.items()
    }
    tuned = {
        name: _tuned(storage, config.tasks[name], each.ref)
        for name, each in manifest.ensembles.items()
    }
    heads = {
        name: load_heads(storage, each.ref, config.tasks[name].task_kind())
        for name, each in manifest.ensembles.items()
        if storage.exists(heads_key(each.folder))
    }
    return Publication(manifest, ensembles, tuned, heads)


def _tuned(storage: Storage, task: TaskConfig, ref: EnsembleRef) -> dict[str, Encoding]:
    """Load the fine-tuned specialists, by the names under which an ensemble reads their outputs."""
    encodings = output_encodings(ref, task, storage)
    for encoding in encodings.values():
        encoding.load()  # a version is served only if all of it loads
    return {outputs_of(name): encoding for name, encoding in encodings.items()}


def load_verified(storage: Storage, task: TaskConfig, published: PublishedEnsemble) -> Ensemble:
    """Load the ensemble of a task and hold it against its description.

    Raises:
        StoreError: a file cannot be read.
        DataError: it is not what was published, or not what the task needs.
    """
    kind = task.task_kind()
    asked = (kind.name, list(kind.labels))
    if (published.kind, published.labels) != asked:
        found = f"{published.kind} with the labels {published.labels}"
        raise DataError(f"{published.folder} is a {found}, asked: {asked[0]}, {asked[1]}")
    if published.encoders != _encoder_hashes(task):
        raise DataError(f"{published.folder} was trained on the features of another encoder")
    if published.hash != _hash(storage, published.ref):
        raise DataError(f"the files of {published.folder} are not those that were published")
    ensemble = load_ensemble(storage, published.ref, kind)
    found_NC = _canaries(ensemble)
    if np.shape(found_NC) != np.shape(published.canaries) or not np.allclose(
        found_NC, published.canaries, atol=CANARY_TOLERANCE
    ):
        raise DataError(f"{published.folder} computes other outputs than where it was published")
    return ensemble


def _described(
    storage: Storage, task: TaskConfig, ref: EnsembleRef, certificate: Certificate | None
) -> PublishedEnsemble:
    return PublishedEnsemble(
        folder=ref.folder,
        specialists=ref.specialists,
        version=ref.version,
        tuned=ref.tuned,
        hash=_hash(storage, ref),
        kind=task.kind,
        labels=list(task.task_kind().labels),
        encoders=_encoder_hashes(task),
        canaries=_canaries(load_ensemble(storage, ref, task.task_kind())),
        certificate=certificate,
    )


def _encoder_hashes(task: TaskConfig) -> dict[str, str]:
    return {name: encoder_hash(config) for name, config in task.named_encoders.items()}


def _hash(storage: Storage, ref: EnsembleRef) -> str:
    """Hash all files that an ensemble is loaded from."""
    digest = hashlib.blake2b(digest_size=16)
    for key in storage.keys(ref.folder):
        if key.rsplit("/", 1)[-1] not in NOT_LOADED:
            digest.update(hashlib.blake2b(key.encode() + storage.read_bytes(key)).digest())
    return digest.hexdigest()


def _canaries(ensemble: Ensemble) -> list[list[float]]:
    """Return an ensemble's mean outputs, the first of them, for fixed embeddings."""
    rng = np.random.default_rng(0)
    rows = {}
    for name, dimension in ensemble.dimensions.items():
        x_ND = rng.standard_normal((CANARIES, dimension), dtype=np.float32)
        rows[name] = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    mean_NC = ensemble.probabilities(rows).mean(0)[:, :CANARY_OUTPUTS]
    if not bool(mean_NC.isfinite().all()):
        raise DataError("the outputs of an ensemble are not numbers: its weights are broken")
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
