"""The pass that encodes every sample once; all later passes read the embeddings."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from umc_ray.cluster.resources import ANY_NODE, Labels, available_slots
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Encoder, Half, Payload
from umc_ray.encoders.precision import with_precision
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.errors import StageError
from umc_ray.records import QUARANTINE, Part, embeddings_column
from umc_ray.storage import Storage

BATCHES_AHEAD = 4
"""Batches that are decoded while the model works on an earlier one."""


def features_table(config: EncoderConfig) -> str:
    """Name the table of an encoder's features, for `Part.key`."""
    return f"features/{encoder_hash(config)}"


@dataclass(frozen=True)
class Encoding:
    """What makes a table of rows of numbers: an encoder, and the name of the table."""

    config: EncoderConfig
    table: str

    def load(self) -> Encoder:
        """Load the encoder, once per process.

        Raises:
            ConfigError: its weights are not where the campaign file says.
        """
        return load_encoder(self.config)

    def encode(
        self, storage: Storage, part: Part, payloads: Sequence[Payload | None]
    ) -> tuple[Half, dict[int, str]]:
        """Encode the samples of a part, as `encode_rows`."""
        return encode_rows(self.load(), payloads, self.config.batch_size)


@dataclass(frozen=True)
class EncodeItem:
    """A part, and the encoder of its task that encodes it."""

    part: Part
    encoder: str


@dataclass(frozen=True)
class EncodeSummary(Summary):
    """What encoding a part gave."""

    rejected: tuple[int, ...]  # ids of the samples that cannot be encoded


@dataclass(frozen=True)
class EncodeWorker:
    """Encodes parts with the encoders of their tasks; encoders are named by task and name."""

    storage: Storage
    encoders: Mapping[tuple[str, str], Encoding]
    summary_type: ClassVar[type[EncodeSummary]] = EncodeSummary

    def output_key(self, item: EncodeItem) -> str:
        """Name the part's features."""
        return item.part.key(self.encoders[item.part.domain_key.task, item.encoder].table)

    def process(self, item: EncodeItem) -> tuple[pa.Table, EncodeSummary]:
        """Encode a part; an embedding column of float16 rows, NaN where a sample is rejected."""
        part = item.part
        encoding = self.encoders[part.domain_key.task, item.encoder]
        encoder = encoding.load()
        columns = ["sample_id", "key", "source", encoder.column]
        table = self.storage.read_table(part.key("pool"), columns)
        payloads = payloads_of(table.column(encoder.column))
        embeddings_ND, rejected = encoding.encode(self.storage, part, payloads)
        if len(rejected) == len(payloads):
            raise StageError(f"no sample of {part.domain_key} can be encoded: {rejected[0]}")
        self._quarantine(item, table, rejected)
        ids = table["sample_id"]
        features = pa.table({"sample_id": ids, "embedding": embeddings_column(embeddings_ND)})
        rejected_ids = ids.take(pa.array(list(rejected), pa.int64())).to_pylist()
        return features, EncodeSummary(len(payloads), tuple(rejected_ids))

    def _quarantine(self, item: EncodeItem, table: pa.Table, rejected: Mapping[int, str]) -> None:
        if rejected:
            rows = table.take(pa.array(list(rejected)))
            columns = [rows["source"], rows["key"], pa.array(rejected.values(), pa.string())]
            bad = pa.Table.from_arrays(columns, schema=QUARANTINE)
            self.storage.write_table(item.part.key(f"quarantine/encode/{item.encoder}"), bad)


def payloads_of(column: pa.ChunkedArray) -> Sequence[Payload | None]:
    """Return the samples of a column of a pool; None where one was forgotten."""
    if not pa.types.is_list(column.type):
        payloads: list[Payload | None] = column.to_pylist()
        return payloads
    if column.null_count:  # of samples that were forgotten
        rows = column.to_pylist()
        return [None if row is None else np.array(row, np.float32) for row in rows]
    numbers = column.combine_chunks().flatten().to_numpy()
    return list(numbers.reshape(len(column), -1))  # views: Python's numbers take 8 times the memory


def encode_rows(
    encoder: Encoder, payloads: Sequence[Sized | None], size: int
) -> tuple[Half, dict[int, str]]:
    """Encode a part's samples in batches, decoding ahead of the model.

    Returns:
        The embeddings, with rows of NaN for samples that cannot be encoded, and why by row.
    """
    rejected = {row: "forgotten" for row, payload in enumerate(payloads) if payload is None}
    done: list[tuple[list[int], Half]] = []
    # Texts are padded to the longest of their batch: sorted by length, they take 2/3 of the time.
    sizes = {row: len(payload) for row, payload in enumerate(payloads) if payload is not None}
    order = sorted(sizes, key=lambda row: sizes[row])
    batches = (order[i : i + size] for i in range(0, len(order), size))
    with ThreadPoolExecutor(max_workers=1) as pool:
        for prepared in _ahead(pool, encoder, payloads, batches, rejected):
            if prepared:
                done += _encoded(encoder, list(prepared), list(prepared.values()), rejected)
    dimension = done[0][1].shape[1] if done else 0
    embeddings_ND = np.full((len(payloads), dimension), np.nan, dtype=np.float16)
    for rows, some_ND in done:
        embeddings_ND[rows] = some_ND
    return embeddings_ND, dict(sorted(rejected.items()))


def _encoded(
    encoder: Encoder, rows: list[int], prepared: list[Any], rejected: dict[int, str]
) -> list[tuple[list[int], Half]]:
    """Encode a batch; if it fails, halve it until only the rows are left that fail alone."""
    try:
        return [(rows, encoder.encode(prepared))]
    except Exception as error:
        if _leaves_the_device_unusable(error):
            # Ray starts another actor, which does the part again. A raised error would be retried
            # in this process, whose device is gone.
            os._exit(1)
        if len(rows) == 1:
            rejected[rows[0]] = f"cannot be encoded: {error!r}"
            return []
    half = len(rows) // 2
    first = _encoded(encoder, rows[:half], prepared[:half], rejected)
    return first + _encoded(encoder, rows[half:], prepared[half:], rejected)


def _leaves_the_device_unusable(error: Exception) -> bool:
    """Whether an error destroys the CUDA context: any CUDA error but a lack of memory."""
    return "CUDA error" in str(error) and not isinstance(error, torch.OutOfMemoryError)


def _ahead(
    pool: ThreadPoolExecutor,
    encoder: Encoder,
    payloads: Sequence[Sized | None],
    batches: Iterable[list[int]],
    rejected: dict[int, str],
) -> Iterator[dict[int, Any]]:
    """Prepare batches in a thread, at most BATCHES_AHEAD of them in advance."""

    def prepare(batch: list[int]) -> dict[int, Any]:
        prepared = {}
        for row in batch:
            try:
                payload = payloads[row]
                assert payload is not None
                prepared[row] = encoder.prepare(payload)
            except Exception as error:
                rejected[row] = f"cannot be decoded: {error!r}"
        return prepared

    waiting: deque[Future[dict[int, Any]]] = deque()
    for batch in batches:
        waiting.append(pool.submit(prepare, batch))
        if len(waiting) >= BATCHES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def encode(
    encoders: Mapping[str, Mapping[str, EncoderConfig]],
    parts: Sequence[Part],
    storage: Storage,
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> dict[str, list[int]]:
    """Encode all parts with all encoders of their tasks, on the nodes with the labels.

    Args:
        encoders: by task, then by name.
        parts: of any tasks; what is encoded already is not encoded again.
        storage: the run directory.
        on_rows: called with each number of rows done.
        labels: of the nodes that take part.

    Returns:
        By domain, the ids of the samples that an encoder cannot encode.
    """
    # The precision is decided here once: workers may have other processors.
    settled = {
        (task, name): with_precision(config)
        for task, named in encoders.items()
        for name, config in named.items()
    }
    encodings = {key: Encoding(config, features_table(config)) for key, config in settled.items()}
    return encode_all(encodings, parts, storage, on_rows, labels)


def encode_all(
    encodings: Mapping[tuple[str, str], Encoding],
    parts: Sequence[Part],
    storage: Storage,
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> dict[str, list[int]]:
    """Encode all parts with all that is there for their tasks, by task and name.

    Returns:
        By domain, the ids of the samples that cannot be encoded.
    """
    rejected: dict[str, set[int]] = {}
    for gpus in sorted({each.config.num_gpus for each in encodings.values()}):
        group = {key: each for key, each in encodings.items() if each.config.num_gpus == gpus}
        worker = EncodeWorker(storage, group)
        items = [
            EncodeItem(part, name)
            for task, name in group
            for part in parts
            if part.domain_key.task == task
        ]
        compute = encoder_pool([each.config for each in group.values()], gpus, labels)
        summaries = stream(worker, items, compute, on_rows)
        for item, summary in zip(items, summaries, strict=True):
            rejected.setdefault(str(item.part.domain_key), set()).update(summary.rejected)
    return {name: sorted(ids) for name, ids in rejected.items()}


def encoder_pool(configs: Sequence[EncoderConfig], num_gpus: float, labels: Labels) -> Compute:
    """Return the actor pool of encoders: as configured, or as many as fit."""
    fitting = max(1, available_slots(num_gpus, labels))
    return Compute(
        actors=max(fitting if each.workers is None else each.workers for each in configs),
        num_gpus=num_gpus,
        labels=labels,
        max_actors=max(each.max_workers or 0 for each in configs) or None,
    )
