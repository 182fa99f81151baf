"""Try an encoder on a few samples in this process: whether it loads, how fast and how large it is.

Suffixes: N samples, D embedding dimension.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Encoder, Half, Payload
from umc_ray.encoders.registry import load_encoder
from umc_ray.encoders.table import Table
from umc_ray.passes.encode import encode_rows

SECONDS = 4.0
"""After which no further batch is encoded."""


@dataclass(frozen=True)
class EncoderTrial:
    """What an encoder did with a sample."""

    samples: int
    per_second: float  # on one core, or on the GPU
    dimension: int
    rejected: dict[int, str]  # why, by the number of the sample
    near: int  # samples that are near-duplicates of an earlier one
    similarity: float  # cosine from which they count as such
    memory_bytes: int  # of this process with the encoder in it
    lacks_gpu: bool  # the campaign asks for one, and there is none here


def try_encoder(
    config: EncoderConfig,
    payloads: Sequence[Payload],
    similarity: float,
) -> EncoderTrial:
    """Load an encoder, and encode samples until they are done or time is up.

    Raises:
        ConfigError: the weights are not where the campaign file says.
    """
    lacks_gpu = bool(config.num_gpus) and not torch.cuda.is_available()
    if lacks_gpu:
        config = config.model_copy(update={"num_gpus": 0.0})
    encoder = _loaded(config, payloads)
    size = config.batch_size
    done, rejected, rows = list[Half](), dict[int, str](), 0
    # A busy machine must not look like a slow encoder; what a GPU does takes no CPU time.
    clock = time.perf_counter if config.num_gpus else time.process_time
    with _one_thread():
        encode_rows(encoder, payloads[:1], size)  # what happens once must not count
        end, began = time.monotonic() + SECONDS, clock()
        while rows < len(payloads) and time.monotonic() < end:
            some_ND, bad = encode_rows(encoder, payloads[rows : rows + size], size)
            done.append(some_ND)
            rejected.update({rows + row: why for row, why in bad.items()})
            rows += len(some_ND)
        seconds = clock() - began
    dimension = max((each.shape[1] for each in done), default=0)
    nothing_0D = np.empty((0, dimension), dtype=np.float16)
    usable = [each for each in done if each.shape[1] == dimension]
    embeddings_ND = np.concatenate([nothing_0D, *usable])
    return EncoderTrial(
        samples=rows,
        per_second=rows / seconds if seconds else 0.0,
        dimension=dimension,
        rejected=rejected,
        near=count_near(embeddings_ND, similarity),
        similarity=similarity,
        memory_bytes=psutil.Process().memory_info().rss,
        lacks_gpu=lacks_gpu,
    )


def _loaded(config: EncoderConfig, payloads: Sequence[Payload]) -> Encoder:
    """Load an encoder; one that learns from the pool learns from these samples."""
    if config.kind == "table":
        return Table.learned([str(payload) for payload in payloads])
    return load_encoder(config)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as a worker does, which has one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def count_near(embeddings_ND: Half, similarity: float) -> int:
    """Count the embeddings whose cosine with an earlier one is at least `similarity`."""
    x_ND = np.nan_to_num(embeddings_ND.astype(np.float32))
    norms_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
    x_ND = np.divide(x_ND, norms_N, out=np.zeros_like(x_ND), where=norms_N > 0)
    earlier_NN = np.tril(x_ND @ x_ND.T, k=-1)
    return int((earlier_NN >= similarity).any(axis=1).sum())
