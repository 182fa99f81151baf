"""Encoding in a replica: many small batches, in threads of their own.

Suffixes: N samples, D embedding dimension.
"""

import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import torch

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Encoder, Half
from umc_ray.encoders.table import Table
from umc_ray.methods.text_pair import joined
from umc_ray.passes.encode import encode_rows

Payload = str | bytes

CPU_BATCH = 8
"""Samples per forward pass on a CPU. For real sentences, larger batches cost more in padding than
they save (MiniLM, CPU ms per text: 16.5 one by one, 16.9 by 32, 9.7 by 8 of similar length)."""


class ThreadedEncoder:
    """An encoder that is warm and used by several threads."""

    def __init__(self, encoder: Encoder, config: EncoderConfig, cpus: int, parts: int = 1) -> None:
        self.encoder = encoder
        # Each thread computes alone: torch's own threads busy-wait for each other, which takes ten
        # times the CPU time when other processes compete for the cores.
        on_gpu = config.num_gpus > 0
        self.threads = 1 if on_gpu else cpus
        self.max_chunk = config.batch_size if on_gpu else CPU_BATCH
        self.pool = ThreadPoolExecutor(self.threads, "encode", torch.set_num_threads, (1,))
        # Warm up: the first forward pass of a model is slow.
        self.dimension = encode_rows(self.encoder, [_warm_up(self.encoder, parts)], 1)[0].shape[1]

    def encode(self, payloads: Sequence[Payload]) -> tuple[Half, dict[int, str]]:
        """Encode in all threads, in chunks of similar length.

        Returns:
            The embeddings, rows of zeros for payloads that cannot be encoded, and why by index.
        """
        size = min(self.max_chunk, math.ceil(len(payloads) / self.threads))
        # Longest first, so that all threads finish at about the same time.
        order = sorted(range(len(payloads)), key=lambda i: -len(payloads[i]))
        chunks = [order[i : i + size] for i in range(0, len(order), size)]

        def encode(rows: list[int]) -> tuple[Half, dict[int, str]]:
            return encode_rows(self.encoder, [payloads[i] for i in rows], size)

        embeddings_ND = np.zeros((len(payloads), self.dimension), dtype=np.float16)
        failures: dict[int, str] = {}
        for rows, (chunk_ND, reasons) in zip(chunks, self.pool.map(encode, chunks), strict=True):
            failures |= {rows[i]: reason for i, reason in reasons.items()}
            if len(reasons) < len(rows):
                embeddings_ND[rows] = np.nan_to_num(chunk_ND)
        return embeddings_ND, failures


def _warm_up(encoder: Encoder, parts: int) -> Payload:
    if isinstance(encoder, Table):
        return encoder.example
    if encoder.column == "text":
        return joined(["a few words"] * parts)
    file = io.BytesIO()
    PIL.Image.new("L", (64, 64)).save(file, "PNG")
    return file.getvalue()
