"""A specialist that remembers: what was written for the labeled samples nearest to a new one.

It is what a model that writes has to beat, and with few labels it is hard to beat.

Suffixes: N samples, M remembered samples, D embedding dimension, K texts of a list, C outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.text_lists import PLACES, listed, size_of
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.specialist import Examples, FitJob, FitReport
from umc_ray.storage import Storage
from umc_ray.tasks.written_answers import first_text

WEIGHTS = "model.safetensors"
UNIT = "unit_MD"
CARD = "memory.json"

NEAREST = PLACES - 1
"""Samples whose texts are listed, the nearest one's first."""

LEAST = 1e-3
"""The least similarity that counts."""

BLOCK = 1024
"""Samples that are compared with all remembered ones at a time."""


@dataclass(frozen=True)
class Memory:
    """Embeddings of samples, at length one, and the text of each."""

    encoder: str
    outputs: int
    unit_MD: Tensor
    texts_M: tuple[str, ...]

    @property
    def dimensions(self) -> Mapping[str, int]:
        """It reads the embeddings of one encoder."""
        return {self.encoder: self.unit_MD.shape[1]}

    @property
    def group(self) -> object:
        """Each is computed for itself."""
        return id(self)

    @classmethod
    def fit(
        cls, job: FitJob, examples: Examples, weights_N: FloatArray, folds_N: IntArray, device: str
    ) -> tuple[Self, FloatArray, FitReport]:
        """Remember all examples; held out, those of the other folds.

        In a process group each process does all of the work, and so has the same memory.
        """
        encoder = job.specialist.encoders[0]
        unit_ND = _unit(torch.from_numpy(examples.features[encoder].astype(np.float32)))
        whole = cls(encoder, job.kind.outputs, unit_ND, tuple(map(first_text, examples.texts_N)))
        held_out_NC = torch.zeros(len(examples), job.kind.outputs)
        for fold in np.unique(folds_N):
            others = whole.only(np.flatnonzero(folds_N != fold))
            held_out_NC[folds_N == fold] = others.lists(unit_ND[folds_N == fold])
        losses_N = job.kind.loss(held_out_NC[None], torch.tensor(examples.targets))[0]
        judging_N = torch.from_numpy(examples.judging(weights_N))
        weights = fingerprint([whole.texts_M, float(unit_ND.double().sum())])
        loss = float(losses_N @ judging_N / judging_N.sum())
        return whole, held_out_NC.numpy(), FitReport(loss, None, weights)

    @classmethod
    def load(cls, config: SpecialistConfig, storage: Storage, folder: str) -> Self:
        """Load a stored memory."""
        unit_MD = load(storage.read_bytes(f"{folder}/{WEIGHTS}"))[UNIT]
        card = storage.read_json(f"{folder}/{CARD}")
        return cls(card["encoder"], card["outputs"], unit_MD.float(), tuple(card["texts"]))

    def save(self, storage: Storage, folder: str) -> None:
        """Store the embeddings and the texts."""
        storage.write_bytes(f"{folder}/{WEIGHTS}", save({UNIT: self.unit_MD.half()}))
        card = {"encoder": self.encoder, "outputs": self.outputs, "texts": list(self.texts_M)}
        storage.write_json(f"{folder}/{CARD}", card)

    def only(self, rows: IntArray) -> "Memory":
        """Return a memory of some of the samples."""
        texts = tuple(self.texts_M[row] for row in rows.tolist())
        return Memory(self.encoder, self.outputs, self.unit_MD[rows], texts)

    def lists(self, x_ND: Tensor) -> Tensor:
        """Return outputs NC: the texts of the nearest samples; NaN where there is no embedding."""
        size, rows = size_of(self.outputs), []
        for block_ND in _unit(x_ND.float()).split(BLOCK):  # type: ignore[no-untyped-call]
            near = (block_ND @ self.unit_MD.T).topk(min(NEAREST, len(self.texts_M)), dim=1)
            logs_NK = near.values.clamp(LEAST, 1).log()
            for logs_K, places_K in zip(logs_NK.tolist(), near.indices.tolist(), strict=True):
                found = zip(logs_K, [self.texts_M[place] for place in places_K], strict=True)
                rows.append(listed(list(found), size))
        found_NC = torch.stack(rows) if rows else torch.zeros(0, self.outputs)
        return found_NC.masked_fill(x_ND.isnan().any(1)[:, None], torch.nan)

    @staticmethod
    def together(members: Sequence["Memory"]) -> Callable[[Tensor], Tensor]:
        """Return the lists of one member after the other."""
        return lambda x_ND: torch.stack([member.lists(x_ND) for member in members])


def _unit(x_ND: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x_ND, dim=1)
