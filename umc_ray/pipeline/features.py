"""Encode every sample once: the pass that makes all later passes cheap."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from umc_ray.config import EncoderConfig
from umc_ray.pipeline.encoders import Encoder, Half, encoder_hash, load_encoder
from umc_ray.pipeline.stream import Compute, OnRows, Summary, stream
from umc_ray.records import Part, embeddings_column
from umc_ray.storage import Storage

BATCHES_AHEAD = 4
"""Batches that are decoded while the model works on an earlier one."""


def features_table(config: EncoderConfig) -> str:
    """Name the table of an encoder's features, for `Part.key`."""
    return f"features/{encoder_hash(config)}"


@dataclass(frozen=True)
class EncodeWorker:
    """Encodes the parts of all tasks, each with its task's encoder."""

    storage: Storage
    encoders: Mapping[str, EncoderConfig]
    tables: Mapping[str, str]

    def output_key(self, item: Part) -> str:
        """Name the part's features."""
        return item.key(self.tables[item.arm.task])

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Encode a part; an embedding column of float16 rows."""
        config = self.encoders[item.arm.task]
        encoder = load_encoder(config)
        table = self.storage.read_table(item.key("pool"), ["sample_id", encoder.column])
        payloads = table.column(encoder.column).to_pylist()
        embeddings_ND = np.concatenate(list(_encoded(encoder, payloads, config.batch_size)))
        features = pa.table(
            {"sample_id": table["sample_id"], "embedding": embeddings_column(embeddings_ND)}
        )
        return features, {"rows": len(payloads), "dimension": embeddings_ND.shape[1]}


def _encoded(encoder: Encoder, payloads: Sequence[str | bytes], size: int) -> Iterator[Half]:
    """Encode batch by batch, in order, decoding ahead of the model."""
    batches = (payloads[i : i + size] for i in range(0, len(payloads), size))
    with ThreadPoolExecutor(max_workers=1) as pool:
        for prepared in _ahead(pool, encoder, batches):
            yield encoder.encode(prepared)


def _ahead(
    pool: ThreadPoolExecutor, encoder: Encoder, batches: Iterable[Sequence[str | bytes]]
) -> Iterator[list[Any]]:
    """Prepare batches in a thread, at most BATCHES_AHEAD ones that wait."""

    def prepare(batch: Sequence[str | bytes]) -> list[Any]:
        return [encoder.prepare(payload) for payload in batch]

    waiting: deque[Future[list[Any]]] = deque()
    for batch in batches:
        waiting.append(pool.submit(prepare, batch))
        if len(waiting) >= BATCHES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def encode(
    encoders: Mapping[str, EncoderConfig],
    parts: Sequence[Part],
    storage: Storage,
    on_rows: OnRows | None = None,
) -> int:
    """Encode all parts of all tasks that are not encoded yet; returns the number of rows."""
    rows = 0
    for gpus in sorted({config.num_gpus for config in encoders.values()}):
        alike = {task: config for task, config in encoders.items() if config.num_gpus == gpus}
        worker = EncodeWorker(storage, alike, {k: features_table(v) for k, v in alike.items()})
        mine = [part for part in parts if part.arm.task in alike]
        actors = max(_pool_size(config) for config in alike.values())
        summaries = stream(worker, mine, Compute(min(actors, len(mine)), gpus), on_rows)
        rows += sum(summary["rows"] for summary in summaries)
    return rows


def _pool_size(config: EncoderConfig) -> int:
    """Return the size of the actor pool: as configured, or what the cluster holds."""
    if config.workers is not None:
        return config.workers
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if config.num_gpus:
        return max(1, int(resources.get("GPU", 0) / config.num_gpus))
    return max(1, int(resources["CPU"]))
