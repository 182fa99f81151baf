"""The specialists of a task as one model.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load

from umc_ray.methods.heads import Parameters, forward
from umc_ray.methods.scoring import ensemble_probabilities
from umc_ray.storage import Storage


@dataclass(frozen=True)
class EnsembleRef:
    """Names a stored ensemble: models/<task>/<round>, its specialists, and a hash of them all."""

    folder: str
    specialists: tuple[str, ...]
    version: str

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {"folder": self.folder, "specialists": self.specialists, "version": self.version}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EnsembleRef":
        """Rebuild what `to_json` gave."""
        return cls(value["folder"], tuple(value["specialists"]), value["version"])


class Ensemble:
    """Calibrated specialists; all linear ones are one matrix product."""

    def __init__(self, heads: Sequence[Parameters], temperatures_S: Sequence[float]) -> None:
        self.temperatures_S = torch.tensor(temperatures_S, dtype=torch.float32)
        self.groups = [
            {name: torch.cat([head[name] for head in group]) for name in group[0]}
            for group in _alike(heads)
        ]
        order = [id(head) for group in _alike(heads) for head in group]
        self.order = torch.tensor([order.index(id(head)) for head in heads])

    def probabilities(self, x_ND: npt.NDArray[np.floating]) -> torch.Tensor:
        """Return each specialist's calibrated probabilities, shape SNC."""
        # Converting in torch is five times as fast; it warns of arrays it must not write to.
        x = torch.from_numpy(np.require(x_ND, requirements="W")).float()
        by_group = [forward(group, x) for group in self.groups]
        logits = by_group[0] if len(by_group) == 1 else torch.cat(by_group)[self.order]
        return ensemble_probabilities(logits, self.temperatures_S)


def _alike(heads: Sequence[Parameters]) -> list[list[Parameters]]:
    """Group heads whose parameters have the same shapes."""
    groups: dict[tuple[tuple[str, torch.Size], ...], list[Parameters]] = {}
    for head in heads:
        # Sorted: parameters are loaded in any order.
        groups.setdefault(tuple((k, head[k].shape) for k in sorted(head)), []).append(head)
    return list(groups.values())


@lru_cache(maxsize=8)
def load_ensemble(storage: Storage, ref: EnsembleRef) -> Ensemble:
    """Load a stored ensemble, once per process.

    Raises:
        StoreError: a specialist's files are missing.
    """
    folders = [f"{ref.folder}/{name}" for name in ref.specialists]
    heads = [load(storage.read_bytes(f"{folder}/model.safetensors")) for folder in folders]
    calibrations = [storage.read_json(f"{folder}/calibration.json") for folder in folders]
    return Ensemble(heads, [each["temperature"] for each in calibrations])
