"""A random sample of a domain's pool, with embeddings: what the labeled samples are compared with.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from umc_ray.records import FloatArray, Part, embeddings_array
from umc_ray.selection.labeled import PLACE
from umc_ray.storage import Storage


def sample_pool(
    storage: Storage, parts: Sequence[Part], features: str, count: int, most_parts: int
) -> tuple[pa.Table, FloatArray]:
    """Draw samples of a domain's pool that its encoder can read; the same ones each time.

    Args:
        storage: the run directory.
        parts: of the domain's pool; of many, some are read, evenly spaced.
        features: the table of the embeddings.
        count: samples to draw, about.
        most_parts: how many parts are read, whatever the size of the pool.

    Returns:
        Their places, and their embeddings ND.
    """
    indices = np.unique(np.linspace(0, len(parts) - 1, most_parts).round().astype(int))
    read = [parts[i] for i in indices]
    rows = sum(part.rows for part in read)
    rng = np.random.default_rng(0)
    places, blocks = [], []
    for part in read:
        picks = np.sort(rng.permutation(part.rows)[: -(-count * part.rows // rows)])
        table = storage.read_table(part.key(features), ["sample_id", "embedding"])
        table = table.take(pa.array(picks))
        found_ND = embeddings_array(table["embedding"]).astype(np.float32)
        usable_N = np.isfinite(found_ND).all(axis=1)
        ids = table["sample_id"].to_numpy()[usable_N]
        places.append(pa.Table.from_arrays(part.places(picks[usable_N], ids), names=PLACE))
        blocks.append(found_ND[usable_N])
    return pa.concat_tables(places), np.concatenate(blocks)
