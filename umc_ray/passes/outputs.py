"""The pass that computes the outputs of fine-tuned specialists, from the samples themselves.

Where only top layers are fine-tuned, the output of the frozen ones is kept for the next rounds:
lower/<encoder>-<layers>/..., as many bytes as the campaign allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import TaskConfig
from umc_ray.encoders.encoder import Encoder, Half, Payload
from umc_ray.encoders.precision import with_precision
from umc_ray.encoders.registry import encoder_hash
from umc_ray.passes.encode import Encoding, encode_rows
from umc_ray.records import Part
from umc_ray.specialists.ensemble import EnsembleRef, outputs_table
from umc_ray.specialists.fine_tuned import TunedRef
from umc_ray.specialists.top_layers import KnownLower, TopEncoder
from umc_ray.storage import Storage

LOWER = pa.schema([pa.field("lower", pa.large_binary()), pa.field("shape", pa.list_(pa.int32()))])
"""lower/<encoder>-<layers>/<part>: float16 values of each sample; null if it cannot be encoded."""


@dataclass(frozen=True)
class TunedEncoding(Encoding):
    """A fine-tuned specialist as an encoder, with what to keep of its frozen layers."""

    tuned: TunedRef
    lower: str  # the table of their output
    lower_bytes: int  # most that is kept for a part

    def load(self) -> Encoder:
        """Load the network, once per process.

        Raises:
            ConfigError: the encoder is another one than it was fine-tuned from.
            StoreError: its files are missing.
        """
        return self.tuned.load(self.config)

    def encode(
        self, storage: Storage, part: Part, payloads: Sequence[Payload | None]
    ) -> tuple[Half, dict[int, str]]:
        """Compute the outputs of a part's samples; the frozen layers run once."""
        encoder = self.load()
        if not isinstance(encoder, TopEncoder) or not self.lower_bytes:
            return encode_rows(encoder, payloads, self.config.batch_size)
        rows = self._lower(storage, part.key(self.lower), encoder, payloads)
        known = [
            None if payload is None or lower is None else KnownLower(payload, lower)
            for payload, lower in zip(payloads, rows, strict=True)
        ]
        return encode_rows(_OnLower(encoder), known, self.config.batch_size)

    def _lower(
        self,
        storage: Storage,
        key: str,
        encoder: TopEncoder,
        payloads: Sequence[Payload | None],
    ) -> list[Tensor | None]:
        """Read the output of the frozen layers; compute what is missing of it, and keep it."""
        rows: list[Tensor | None] = [None] * len(payloads)
        if storage.exists(key):
            rows = _read_lower(storage.read_table(key))
        missing = [
            payload if row is None else None for payload, row in zip(payloads, rows, strict=True)
        ]
        new = _compute_lower(encoder, missing, self.config.batch_size)
        if all(row is None for row in new):
            return rows
        rows = [row if more is None else more for row, more in zip(rows, new, strict=True)]
        if sum(0 if row is None else 2 * row.numel() for row in rows) <= self.lower_bytes:
            storage.write_table(key, _lower_table(rows))
        return rows


class _OnLower:
    """Computes outputs from what the frozen layers gave."""

    def __init__(self, encoder: TopEncoder) -> None:
        self.encoder, self.column = encoder, encoder.column

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - a KnownLower
        """Prepare the sample, beside its lower output."""
        return self.encoder.prepare(payload.payload), payload.lower

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Return the outputs of a batch."""
        samples, lower = zip(*prepared, strict=True)
        return self.encoder.encode_lower(samples, lower)


def _compute_lower(
    encoder: TopEncoder, payloads: Sequence[Payload | None], size: int
) -> list[Tensor | None]:
    rows: list[Tensor | None] = [None] * len(payloads)
    prepared: dict[int, Any] = {}
    for row, payload in enumerate(payloads):
        if payload is not None:
            try:
                prepared[row] = encoder.prepare(payload)
            except Exception:
                continue
    order = sorted(prepared, key=lambda row: len(payloads[row] or ""))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        for row, lower in zip(batch, encoder.lower([prepared[i] for i in batch]), strict=True):
            rows[row] = lower.cpu()
    return rows


def _lower_table(rows: Sequence[Tensor | None]) -> pa.Table:
    columns = [
        [None if row is None else row.numpy().tobytes() for row in rows],
        [None if row is None else list(row.shape) for row in rows],
    ]
    return pa.table(columns, schema=LOWER)


def _read_lower(table: pa.Table) -> list[Tensor | None]:
    values, shapes = (table[name].to_pylist() for name in LOWER.names)
    return [
        None
        if shape is None
        else torch.from_numpy(np.frombuffer(value, np.float16).reshape(shape).copy())
        for value, shape in zip(values, shapes, strict=True)
    ]


def output_encodings(
    ref: EnsembleRef, task: TaskConfig, storage: Storage, parts: int = 0
) -> dict[str, TunedEncoding]:
    """Return what computes the outputs of an ensemble's fine-tuned specialists, by their names.

    `parts` is over how many the space for the output of frozen layers is divided; 0 keeps none.

    Raises:
        StoreError: a specialist's files are missing.
    """
    found = {}
    for name, weights in ref.tuned:
        folder = f"{ref.folder}/{name}"
        config = SpecialistConfig.model_validate(storage.read_json(f"{folder}/config.json"))
        encoder = task.named_encoders[config.encoders[0]]
        found[name] = TunedEncoding(
            with_precision(encoder),
            outputs_table(weights),
            TunedRef(storage, folder, weights),
            f"lower/{encoder_hash(encoder)}-{config.layers}",
            int(_cache_gib(task, name, config) * 2**30 / parts) if parts else 0,
        )
    return found


def _cache_gib(task: TaskConfig, name: str, stored: SpecialistConfig) -> float:
    """Return what the campaign file says now: a network may have been kept since."""
    return task.ensemble().get(name, stored).cache_gib


def tuned_encodings(
    refs: Mapping[str, EnsembleRef],
    tasks: Mapping[str, TaskConfig],
    parts: Sequence[Part],
    storage: Storage,
) -> dict[tuple[str, str], TunedEncoding]:
    """Return what computes the outputs of all fine-tuned specialists, by task and name.

    Args:
        refs: the ensembles, by task.
        tasks: the campaign's.
        parts: of any tasks, which share the space for the output of frozen layers.
        storage: the run directory, which has the ensembles too.
    """
    encodings: dict[tuple[str, str], TunedEncoding] = {}
    for task, ref in refs.items():
        own = sum(part.domain_key.task == task for part in parts)
        found = output_encodings(ref, tasks[task], storage, own)
        encodings |= {(task, name): encoding for name, encoding in found.items()}
    return encodings
