"""Specialists that are a head over the embeddings of one encoder: linear, or with a hidden layer.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from safetensors.torch import load, save
from torch import Tensor

from umc_ray.config.task import SpecialistConfig
from umc_ray.methods import heads
from umc_ray.methods.identity import fingerprint
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.specialist import Examples, FitJob, FitReport
from umc_ray.storage import Storage

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Head:
    """A linear or MLP head; all heads of one shape are one matrix product."""

    reads: str
    parameters: heads.Parameters

    @property
    def dimension(self) -> int:
        """D of the embeddings it reads."""
        inner = self.parameters.get("hidden_weight", self.parameters["weight"])
        return int(inner.shape[1])

    @property
    def group(self) -> object:
        """Encoder and shapes; sorted, because parameters are loaded in any order."""
        shapes = {name: value.shape for name, value in self.parameters.items()}
        return self.reads, tuple(sorted(shapes.items()))

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Fit a head; its penalty is chosen by cross-validation."""
        config, reads = job.specialist, str(job.specialist.encoder)
        x_ND = examples.features[reads]
        if job.before is None:
            first = heads.start(
                config.kind, 1, x_ND.shape[1], job.kind.outputs, config.hidden, job.seed
            )
        else:
            first = cls.load(config, job.storage, job.before).parameters
        fit = heads.fit(x_ND, examples.targets, weights_N, folds_N, first, job.kind.loss, device)
        report = FitReport(
            loss=fit.loss,
            penalty=fit.penalty,
            weights=fingerprint([float(v.double().sum()) for v in fit.parameters.values()]),
        )
        return cls(reads, fit.parameters), fit.held_out_NC, report

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load a stored head."""
        return cls(str(config.encoder), load(storage.read_bytes(f"{folder}/{WEIGHTS}")))

    def save(self, storage: Storage, folder: str) -> None:
        """Store the parameters."""
        weights = save({name: value.contiguous() for name, value in self.parameters.items()})
        storage.write_bytes(f"{folder}/{WEIGHTS}", weights)

    @staticmethod
    def together(members: Sequence["Head"]) -> Callable[[Tensor], Tensor]:
        """Stack the parameters of heads of one shape."""
        names = members[0].parameters
        stacked = {name: torch.cat([each.parameters[name] for each in members]) for name in names}
        return lambda x_ND: heads.forward(stacked, x_ND)
