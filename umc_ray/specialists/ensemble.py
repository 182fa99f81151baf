"""The specialists of a task as one model.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.specialists.registry import SPECIALISTS
from umc_ray.specialists.specialist import Rows, Specialist, outputs_of
from umc_ray.storage import Storage
from umc_ray.tasks.decisions import in_domain, in_group
from umc_ray.tasks.task import Calibration, Measures, TaskKind

BLOCK_ROWS = 16_384
"""Rows that are scored at a time: their probabilities stay in the processor's cache."""

BLOCK_OUTPUTS = 2**24
"""Outputs of a specialist that are in memory at a time: lists of texts are long."""


@dataclass(frozen=True)
class EnsembleRef:
    """Names a stored ensemble: models/<task>/<round>, its specialists, and a hash of them all."""

    folder: str
    specialists: tuple[str, ...]
    version: str
    tuned: tuple[tuple[str, str], ...] = ()
    """The fine-tuned ones, which read the samples themselves, each with a hash of its weights."""
    heads_first: bool = False
    """Whether the others score a pool first, and the fine-tuned ones its candidates."""
    rejected: tuple[tuple[str, int], ...] = ()
    """Fine-tuned ones that did not pay, each with the number of labels that it had learned."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The others, which score cached embeddings."""
        tuned = dict(self.tuned)
        return tuple(name for name in self.specialists if name not in tuned)

    def tables(self, features: Mapping[str, str]) -> dict[str, str]:
        """Return the tables that it reads: of features, by encoder, and of its own outputs."""
        outputs = {outputs_of(name): outputs_table(weights) for name, weights in self.tuned}
        return {**features, **outputs}


OUTPUTS = "outputs"
"""The folder of the outputs of fine-tuned networks."""


def outputs_table(weights: str) -> str:
    """Name the table of a fine-tuned network's outputs, for `Part.key`."""
    return f"{OUTPUTS}/{weights}"


class Ensemble:
    """Calibrated specialists; those of one group are computed together."""

    def __init__(
        self,
        kind: TaskKind,
        members: Sequence[Specialist],
        calibrations: Sequence[Calibration],
        decision: Calibration,
    ) -> None:
        self.kind, self.decision = kind, decision
        self.activate = kind.activation(calibrations)
        groups = _grouped(members)
        self.groups = [(tuple(each[0].dimensions), type(each[0]).together(each)) for each in groups]
        order = [id(member) for group in groups for member in group]
        self.order = torch.tensor([order.index(id(member)) for member in members])
        self.dimensions: dict[str, int] = {}
        for member in members:
            self.dimensions |= member.dimensions

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the encoders whose embeddings it reads, and of outputs of its own."""
        return tuple(self.dimensions)

    def probabilities(self, rows: Mapping[str, Rows]) -> Tensor:
        """Return each specialist's calibrated outputs, shape SNC, from what it reads by name."""
        # Converting in torch is five times as fast; it warns of arrays it must not write to.
        x = {
            name: torch.from_numpy(np.require(rows[name], requirements="W")).float()
            for name in self.reads
        }
        by_group = [outputs(_side_by_side(x, reads)) for reads, outputs in self.groups]
        outputs = by_group[0] if len(by_group) == 1 else torch.cat(by_group)[self.order]
        return self.activate(outputs)

    def decision_in(self, domain: str | None, group: str | None = None) -> Calibration:
        """Return its decision for samples of a domain and group; None: they may be of any."""
        return in_group(in_domain(self.decision, domain), domain, group)

    def measures(
        self, rows: Mapping[str, Rows], domain: str | None = None, group: str | None = None
    ) -> Measures:
        """Measure samples block by block, so that memory does not grow with their number."""
        decision = self.decision_in(domain, group)
        size = max(1, min(BLOCK_ROWS, BLOCK_OUTPUTS // self.kind.outputs))
        blocks = [
            self.kind.measures(self.probabilities(block), decision) for block in _blocks(rows, size)
        ]
        return blocks[0] if len(blocks) == 1 else _joined(blocks)


def _side_by_side(x: Mapping[str, Tensor], reads: Sequence[str]) -> Tensor:
    return x[reads[0]] if len(reads) == 1 else torch.cat([x[name] for name in reads], dim=1)


def _grouped(members: Sequence[Specialist]) -> list[list[Specialist]]:
    """Group members that can be computed together."""
    groups: dict[object, list[Specialist]] = {}
    for member in members:
        groups.setdefault((type(member), member.group), []).append(member)
    return list(groups.values())


def _blocks(rows: Mapping[str, Rows], size: int) -> Iterator[dict[str, Rows]]:
    n = len(next(iter(rows.values())))
    for start in range(0, max(n, 1), size):
        yield {name: x_ND[start : start + size] for name, x_ND in rows.items()}


def _joined(blocks: Sequence[Measures]) -> Measures:
    return Measures(
        mean_NC=torch.cat([block.mean_NC for block in blocks]),
        columns={
            name: torch.cat([block.columns[name] for block in blocks]) for name in blocks[0].columns
        },
        expected_utility_N=torch.cat([block.expected_utility_N for block in blocks]),
        certainty_N=torch.cat([block.certainty_N for block in blocks]),
    )


@lru_cache(maxsize=8)
def load_ensemble(storage: Storage, ref: EnsembleRef, kind: TaskKind) -> Ensemble:
    """Load a stored ensemble, once per process.

    Raises:
        StoreError: a specialist's files are missing.
    """
    return _load(storage, ref.folder, ref.specialists, kind, decision_key(ref.folder))


@lru_cache(maxsize=8)
def load_heads(storage: Storage, ref: EnsembleRef, kind: TaskKind) -> Ensemble:
    """Load the heads of a stored ensemble as one of their own, once per process.

    Raises:
        StoreError: a specialist's files are missing.
    """
    return _load(storage, ref.folder, ref.heads, kind, heads_key(ref.folder))


def _load(
    storage: Storage, folder: str, names: Sequence[str], kind: TaskKind, decision: str
) -> Ensemble:
    folders = [f"{folder}/{name}" for name in names]
    members = [load_specialist(storage, each) for each in folders]
    calibrations = [storage.read_json(f"{each}/calibration.json") for each in folders]
    return Ensemble(kind, members, calibrations, storage.read_json(decision))


def load_specialist(storage: Storage, folder: str) -> Specialist:
    """Load a stored specialist of any kind.

    Raises:
        StoreError: its files are missing.
    """
    config = SpecialistConfig.model_validate(storage.read_json(f"{folder}/config.json"))
    return SPECIALISTS[config.kind].load(config, storage, folder)


def decision_key(folder: str) -> str:
    """Name the file with what turns an ensemble's mean into predictions."""
    return f"{folder}/decision.json"


def heads_key(folder: str) -> str:
    """Name the same for the heads alone, in an ensemble with fine-tuned specialists."""
    return f"{folder}/heads.json"
