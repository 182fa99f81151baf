"""Splits of a release, such as train and test: by a hash of each sample's id.

So a sample is in the same split in every release, whatever is labeled later.
"""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa


def split_rows(
    table: pa.Table, id_column: str, shares: Mapping[str, float]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each split that has some; rows of one id are in one split."""
    numbers = np.array([_split_number(each, shares) for each in table[id_column].to_pylist()])
    for number, name in enumerate(shares):
        rows = np.flatnonzero(numbers == number)
        if len(rows):
            yield name, table.take(pa.array(rows))


def split_of(sample_id: int, shares: Mapping[str, float]) -> str:
    """Return the split that a sample is in, in any release that has it."""
    return list(shares)[_split_number(sample_id, shares)]


def _split_number(sample_id: int, shares: Mapping[str, float]) -> int:
    """Return the number of the split of a sample."""
    digest = hashlib.blake2b(f"split {sample_id}".encode(), digest_size=6).digest()
    place = int.from_bytes(digest, "big") / 256**6  # from 0, below 1
    ends = np.cumsum(list(shares.values()))
    return min(int(np.searchsorted(ends, place, side="right")), len(shares) - 1)
