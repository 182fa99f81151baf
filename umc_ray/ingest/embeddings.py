"""Embeddings that a table came with: a list of numbers in each row."""

from typing import Any

import numpy as np
import numpy.typing as npt

from umc_ray.ingest.answers import is_missing
from umc_ray.ingest.sources import BadRow

NUMBER = (float, int, np.floating)  # a list of float16 holds numpy's
Embedding = npt.NDArray[np.float32]


def given_embedding(value: Any, dimension: int) -> Embedding:  # noqa: ANN401 - any cell
    """Return the embedding in a cell.

    Raises:
        BadRow: it is missing, not a list of finite numbers, or of another length.
    """
    if is_missing(value):
        raise BadRow("missing embedding")
    if not isinstance(value, list):
        raise BadRow("wrong type", f"embedding is {type(value).__name__}, not a list of numbers")
    if len(value) != dimension:
        raise BadRow(
            "wrong dimension", f"the embedding has {len(value)} numbers, dimension is {dimension}"
        )
    if not all(isinstance(each, NUMBER) and not isinstance(each, bool) for each in value):
        raise BadRow("wrong type", "the embedding has something in it that is not a number")
    with np.errstate(over="ignore"):
        embedding_D = np.array(value, dtype=np.float32)
    if not np.isfinite(embedding_D).all():
        place = int(np.flatnonzero(~np.isfinite(embedding_D))[0])
        raise BadRow("not finite", f"number {place + 1} of the embedding is {value[place]}")
    return embedding_D
