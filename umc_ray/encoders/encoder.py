"""What an encoder is: a frozen model that turns samples into embeddings.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

Half = npt.NDArray[np.float16]
Payload = str | bytes | npt.NDArray[np.float32]
"""What a sample is to an encoder: a text or a pair of them, an image file, or an embedding."""

MIN_NORM = 1e-6


class Encoder(Protocol):
    """Turns texts, or decoded images, into embeddings."""

    column: str
    """The pool's column it reads: text, image or embedding."""

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - a Payload, by column
        """Do the work that needs no model, such as decoding an image."""
        ...

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Return the embeddings, N x D."""
        ...


def to_device(device: str, tensor: torch.Tensor) -> torch.Tensor:
    """Copy to a GPU from pinned memory, so that the host continues meanwhile."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def of_pairs(unit_MD: Half) -> Half:
    """Turn the embeddings u and v of N pairs, one after the other, into [u, v, |u - v|, u * v].

    Source: Reimers and Gurevych 2019, Sentence-BERT, with the product of InferSent (Conneau et al.
    2017).
    """
    u_ND, v_ND = torch.from_numpy(unit_MD[0::2]).float(), torch.from_numpy(unit_MD[1::2]).float()
    return unit_length(torch.cat([u_ND, v_ND, (u_ND - v_ND).abs(), u_ND * v_ND], dim=1))


def unit_length(embeddings_ND: torch.Tensor) -> Half:
    """Scale to length one, so that distances between embeddings compare directions."""
    unit_ND = torch.nn.functional.normalize(embeddings_ND.float(), dim=1, eps=MIN_NORM)
    return np.asarray(unit_ND.cpu().numpy(), dtype=np.float16)
