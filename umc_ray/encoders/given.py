"""Embeddings that the sources came with, in place of an encoder.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umc_ray.encoders.encoder import Half, unit_length


class Given:
    """Takes each sample's embedding as it is, but for its length."""

    column = "embedding"

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - an embedding, by column
        """Return the embedding as it is."""
        return payload

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Scale embeddings to length one, as those of all encoders are."""
        return unit_length(torch.from_numpy(np.stack(prepared)))
