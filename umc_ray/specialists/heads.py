"""Specialists that are a head over embeddings: linear, or with a hidden layer.

Where a head reads several encoders, their embeddings stand side by side. Each dimension is
standardized for the fit, so that no encoder counts more because its numbers are larger.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods import heads
from umc_ray.methods.group import all_sum, place
from umc_ray.methods.identity import fingerprint
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.specialist import Examples, FitJob, FitReport
from umc_ray.storage import Storage

WEIGHTS = "model.safetensors"
WIDTHS = "encoder_widths"
"""How many dimensions each encoder has, stored beside the parameters."""


@dataclass(frozen=True)
class Head:
    """A linear or MLP head; all heads of one shape are one matrix product."""

    dimensions: Mapping[str, int]
    parameters: heads.Parameters

    @property
    def group(self) -> object:
        """Encoders and shapes; sorted, because parameters are loaded in any order."""
        shapes = {name: value.shape for name, value in self.parameters.items()}
        return tuple(self.dimensions), tuple(sorted(shapes.items()))

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Fit a head; its penalty is chosen by cross-validation."""
        config = job.specialist
        features = {name: examples.features[name] for name in config.encoders}
        x_ND = np.concatenate(list(features.values()), axis=1)
        if job.before is None:
            first = heads.start(
                config.head, 1, x_ND.shape[1], job.kind.outputs, config.hidden, job.seed
            )
        else:
            first = cls.load(config, job.storage, job.before).parameters
        rank, world = place()
        mine = slice(rank, None, world)
        fit = heads.fit(
            x_ND[mine],
            examples.targets[mine],
            examples.judging(weights_N)[mine],
            folds_N[mine],
            first,
            job.kind.loss,
            device,
            job.training_weights(examples, weights_N)[mine],
        )
        held_out_NC = torch.zeros(len(examples), job.kind.outputs, device=device)
        held_out_NC[mine] = torch.from_numpy(fit.held_out_NC).to(device)
        report = FitReport(
            loss=fit.loss,
            penalty=fit.penalty,
            weights=fingerprint([float(v.double().sum()) for v in fit.parameters.values()]),
        )
        dimensions = {name: each_ND.shape[1] for name, each_ND in features.items()}
        return cls(dimensions, fit.parameters), all_sum(held_out_NC).cpu().numpy(), report

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load a stored head."""
        parameters = load(storage.read_bytes(f"{folder}/{WEIGHTS}"))
        widths = parameters.pop(WIDTHS, None)
        if widths is None:  # of a head that reads one encoder
            inner = parameters.get("hidden_weight", parameters["weight"])
            return cls({config.encoders[0]: inner.shape[1]}, parameters)
        return cls(dict(zip(config.encoders, widths.tolist(), strict=True)), parameters)

    def save(self, storage: Storage, folder: str) -> None:
        """Store the parameters."""
        tensors = {name: value.contiguous() for name, value in self.parameters.items()}
        if len(self.dimensions) > 1:
            tensors[WIDTHS] = torch.tensor(list(self.dimensions.values()))
        weights = save(tensors)
        storage.write_bytes(f"{folder}/{WEIGHTS}", weights)

    @staticmethod
    def together(members: Sequence["Head"]) -> Callable[[Tensor], Tensor]:
        """Stack the parameters of heads of one shape."""
        names = members[0].parameters
        stacked = {name: torch.cat([each.parameters[name] for each in members]) for name in names}
        return lambda x_ND: heads.forward(stacked, x_ND)
