"""Pools written by hand: parts, features and models without ingest, encoders and training."""

import numpy as np
import pyarrow as pa
from safetensors.torch import save

from umc_ray.records import POOL, DomainKey, Part, embeddings_column
from umc_ray.specialists.ensemble import EnsembleRef

DOMAIN = DomainKey("mood", "posts")
FEATURES = "features/x"


def write_part(
    storage, ids, embeddings_ND=None, name="part-00000", domain_key=DOMAIN, split="pool"
):
    """Write a part of texts with ids, and its features if there are some."""
    part = Part(split, domain_key, name, len(ids))
    n = len(ids)
    rows = [ids, [f"k{i}" for i in ids], ["x.csv"] * n, [f"text {i}" for i in ids], [None] * n]
    columns = [*rows, [[]] * n]
    arrays = [pa.array(c, t) for c, t in zip(columns, POOL.types, strict=True)]
    storage.write_table(part.key("pool"), pa.Table.from_arrays(arrays, schema=POOL))
    if embeddings_ND is not None:
        column = embeddings_column(np.asarray(embeddings_ND, np.float16))
        features = pa.table({"sample_id": pa.array(ids, pa.int64()), "embedding": column})
        storage.write_table(part.key(FEATURES), features)
    return part


def write_pool(storage, sizes, dimension=4, seed=0, domain_key=DOMAIN, split="pool"):
    """Write parts of random ids and embeddings."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10 * sum(sizes))[: sum(sizes)]
    parts = []
    for number, size in enumerate(sizes):
        mine, ids = ids[:size], ids[size:]
        rows_ND = rng.normal(size=(size, dimension))
        parts.append(
            write_part(storage, mine.tolist(), rows_ND, f"part-{number:05d}", domain_key, split)
        )
    return tuple(parts)


def write_ensemble(storage, heads, folder="models/mood/0001"):
    """Store heads by name, each with a temperature."""
    for name, (parameters, temperature) in heads.items():
        storage.write_bytes(f"{folder}/{name}/model.safetensors", save(parameters))
        storage.write_json(f"{folder}/{name}/calibration.json", {"temperature": temperature})
    return EnsembleRef(folder, tuple(heads), "v1")
