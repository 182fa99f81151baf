"""Specialists that are a fine-tuned network, which reads the samples themselves.

In an ensemble such a specialist is read from the table of its outputs, as a head from embeddings:
a pass writes that table with the network as the encoder.

Suffixes: N samples, C outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Self

import torch
from safetensors.torch import load, save
from torch import Tensor

from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Encoder, Payload
from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint
from umc_ray.records import FloatArray, IntArray, LearnedFrom
from umc_ray.specialists.answers import answers_of
from umc_ray.specialists.fine_tuning import FineTuning
from umc_ray.specialists.full import Full
from umc_ray.specialists.lora import Lora
from umc_ray.specialists.network import trainable_encoder
from umc_ray.specialists.specialist import Examples, FitJob, FitReport, outputs_of
from umc_ray.specialists.top_layers import TopLayers
from umc_ray.storage import Storage

WEIGHTS = "model.safetensors"
CARD = "outputs.json"
LEARNED_FROM = "learned_from"

TUNINGS: Mapping[str, type[Full]] = MappingProxyType(
    {"top_layers": TopLayers, "lora": Lora, "full": Full}
)
"""By the name that a campaign file gives it."""


def try_tuning(
    specialist: SpecialistConfig,
    encoder: EncoderConfig,
    payload: Payload,
    learned_from: LearnedFrom = "embedding",
) -> None:
    """Make a network ready for fine-tuning on a sample, without training it.

    Raises:
        ConfigError: it cannot be trained in this way.
    """
    trainable = trainable_encoder(encoder, learned_from)
    prepared = [trainable.prepare(payload)]
    outputs = 0 if learned_from == "texts" else 2
    TUNINGS[specialist.kind](trainable, prepared, specialist).network(outputs)


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned network. Loaded for an ensemble, it has no weights: its outputs are a table."""

    name: str
    outputs: int
    tensors: Mapping[str, Tensor] | None = None
    card: Mapping[str, object] = field(default_factory=dict)

    @property
    def dimensions(self) -> Mapping[str, int]:
        """It reads its own outputs."""
        return {outputs_of(self.name): self.outputs}

    @property
    def group(self) -> object:
        """Each is computed for itself."""
        return self.name

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Fine-tune the network of an encoder; the number of epochs is cross-validated.

        Raises:
            ConfigError: the network cannot be trained in this way, or diverged.
        """
        assert job.encoder is not None and examples.payloads_N is not None
        config = job.specialist
        on_gpu = job.encoder.model_copy(update={"num_gpus": float(device == "cuda")})
        encoder = trainable_encoder(on_gpu, job.kind.learned_from, job.kind.outputs)
        prepared = answers_of(encoder).taught(
            [encoder.prepare(payload) for payload in examples.payloads_N],
            torch.tensor(examples.targets),
        )
        tuning = TUNINGS[config.kind](encoder, prepared, config)
        found = FineTuning(
            tuning,
            job.kind,
            examples.targets,
            examples.judging(weights_N),
            folds_N,
            [len(payload) for payload in examples.payloads_N],
            epochs=config.epochs,
            training_weights_N=job.training_weights(examples, weights_N),
            learning_rate=config.learning_rate or tuning.learning_rate,
            accumulate=config.accumulate,
            seed=job.seed,
            on_epoch=job.on_epoch,
            resume=job.resume,
        ).run()
        tensors = tuning.tensors(found.network)
        if not all(bool(each.isfinite().all()) for each in tensors.values()):
            raise ConfigError(
                f"specialist {job.name} diverged, its weights are not numbers: give it a "
                f"learning_rate below {config.learning_rate or tuning.learning_rate:g}"
            )
        weights = fingerprint([float(value.double().sum()) for value in tensors.values()])
        report = FitReport(found.loss, None, weights, found.epochs)
        card = {**tuning.card, LEARNED_FROM: job.kind.learned_from}
        model = cls(job.name, job.kind.outputs, tensors, card)
        return model, found.held_out_NC, report

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load what an ensemble needs: the name and the number of outputs."""
        card = storage.read_json(f"{folder}/{CARD}")
        return cls(card["name"], card["outputs"])

    def save(self, storage: Storage, folder: str) -> None:
        """Store what training changed in the network."""
        assert self.tensors is not None  # it was just trained
        storage.write_bytes(f"{folder}/{WEIGHTS}", save(dict(self.tensors)))
        card = {"name": self.name, "outputs": self.outputs, **self.card}
        storage.write_json(f"{folder}/{CARD}", card)

    @staticmethod
    def together(members: Sequence["FineTuned"]) -> Callable[[Tensor], Tensor]:
        """Return the outputs as they are."""
        return lambda outputs_NC: outputs_NC[None]


@dataclass(frozen=True)
class TunedRef:
    """Names a stored fine-tuned network, with a hash of its weights."""

    storage: Storage
    folder: str
    weights: str

    @lru_cache(maxsize=4)  # noqa: B019 - the cache of a process, which is to keep the networks
    def load(self, encoder: EncoderConfig) -> Encoder:
        """Load the network as an encoder, once per process.

        Raises:
            ConfigError: the encoder is another one than it was fine-tuned from.
            StoreError: its files are missing.
        """
        storage, folder = self.storage, self.folder
        config = SpecialistConfig.model_validate(storage.read_json(f"{folder}/config.json"))
        tensors = load(storage.read_bytes(f"{folder}/{WEIGHTS}"))
        card = storage.read_json(f"{folder}/{CARD}")
        trainable = trainable_encoder(
            encoder, card.get(LEARNED_FROM, "embedding"), card["outputs"], card.get("longest", 0)
        )
        return TUNINGS[config.kind].load(trainable, tensors, config, card)
