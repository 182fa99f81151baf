"""Held-out outputs of a specialist, stored beside it: each by a model that did not see the sample.

A fine-tuned network that is kept for some rounds has not seen the labels that came since: what it
says of those samples is held out as well.

Suffixes: N samples, C outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.records import IntArray
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.specialist import Examples, FitReport, outputs_of
from umc_ray.storage import Storage
from umc_ray.tasks.task import Targets

LOADED = ("config.json", "model.safetensors", "outputs.json")
"""Files of a fine-tuned specialist that make it what it is."""


BESIDES = ("cache_gib",)
"""Options that change nothing of a network."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out outputs, and the labels that the specialist has learned."""

    outputs_NC: Tensor
    ids_N: IntArray
    targets: Targets
    learned: int  # the first of the samples, on which the network was trained


def write_held_out(
    storage: Storage, folder: str, outputs_NC: Tensor, examples: Examples, learned: int
) -> None:
    """Store held-out outputs of the examples."""
    tensors = {
        "outputs_NC": outputs_NC.contiguous(),
        "ids_N": torch.from_numpy(np.ascontiguousarray(examples.ids_N)),
        "targets": torch.from_numpy(np.ascontiguousarray(examples.targets)),
        "learned": torch.tensor(learned),
    }
    storage.write_bytes(_key(folder), save(tensors))


def read_held_out(storage: Storage, folder: str) -> HeldOut:
    """Read them back.

    Raises:
        StoreError: there are none.
    """
    found = load(storage.read_bytes(_key(folder)))
    ids_N, targets = found["ids_N"].numpy(), found["targets"].numpy()
    return HeldOut(found["outputs_NC"], ids_N, targets, int(found["learned"]))


def _key(folder: str) -> str:
    return f"{folder}/held_out.safetensors"


def keep(
    storage: Storage,
    before: EnsembleRef | None,
    specialist: SpecialistConfig,
    folder: str,
    examples: Examples,
    training: TrainingConfig,
) -> FitReport | None:
    """Keep a fine-tuned specialist of the round before, if labels have hardly grown.

    Its files are copied. None: it has to be trained, because there is none, its configuration has
    changed, labels have grown by `refit_growth`, or some that it has learned have changed.
    """
    name = folder.rsplit("/", 1)[-1]
    outputs = examples.features.get(outputs_of(name))
    if before is None or outputs is None or name not in dict(before.tuned):
        return None
    if not _same(storage.read_json(f"{before.folder}/{name}/config.json"), specialist):
        return None
    known = read_held_out(storage, f"{before.folder}/{name}")
    rows = _rows_of(known.ids_N, examples.ids_N)
    if rows is None or not np.isfinite(outputs).all():
        return None
    if len(examples) >= training.refit_growth * known.learned:
        return None
    if not np.array_equal(examples.targets[rows], known.targets):
        return None
    outputs_NC = torch.from_numpy(outputs.astype(np.float32))
    outputs_NC[rows] = known.outputs_NC
    for file in LOADED:
        storage.write_bytes(
            f"{folder}/{file}", storage.read_bytes(f"{before.folder}/{name}/{file}")
        )
    report = storage.read_record(f"{before.folder}/{name}/report.json", FitReport)
    storage.write_record(f"{folder}/report.json", report)
    write_held_out(storage, folder, outputs_NC, examples, known.learned)
    return report


def _same(stored: Mapping[str, Any], specialist: SpecialistConfig) -> bool:
    """Whether a network would be trained in the same way again."""
    asked = specialist.model_dump(exclude=set(BESIDES))
    return asked == {key: value for key, value in stored.items() if key not in BESIDES}


def _rows_of(ids: Sequence[int] | IntArray, among_N: IntArray) -> IntArray | None:
    """Return where each id is; None if one is missing."""
    order = np.argsort(among_N)
    places = np.searchsorted(among_N, ids, sorter=order).clip(max=len(order) - 1)
    rows: IntArray = order[places]
    return rows if np.array_equal(among_N[rows], ids) else None
