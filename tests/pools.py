"""Pools written by hand: parts, features and models without ingest, encoders and training."""

from types import MappingProxyType

import numpy as np
import pyarrow as pa
from safetensors.torch import save

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.records import POOL, DomainKey, Part, embeddings_column
from umc_ray.specialists.ensemble import EnsembleRef, decision_key

DOMAIN = DomainKey("mood", "posts")
ENCODER = "words"
FEATURES = "features/x"
"""The table of ENCODER's embeddings, unless another is named."""


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
        write_features(storage, part, ids, embeddings_ND)
    return part


def write_features(storage, part, ids, embeddings_ND, table=FEATURES):
    """Write a part's features of an encoder."""
    column = embeddings_column(np.asarray(embeddings_ND, np.float16))
    features = pa.table({"sample_id": pa.array(ids, pa.int64()), "embedding": column})
    storage.write_table(part.key(table), features)


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


def specialist_config(parameters, encoder=ENCODER):
    """Describe a stored head."""
    kind = "mlp" if "hidden_weight" in parameters else "linear"
    return SpecialistConfig(kind=kind, encoder=encoder)


def write_ensemble(
    storage, heads, folder="models/mood/0001", decision=MappingProxyType({}), encoders=None
):
    """Store heads by name, each with its calibration; a number is a temperature.

    Encoders: by specialist, the one that it reads.
    """
    for name, (parameters, calibration) in heads.items():
        if isinstance(calibration, float):
            calibration = {"temperature": calibration}
        config = specialist_config(parameters, (encoders or {}).get(name, ENCODER))
        storage.write_json(f"{folder}/{name}/config.json", config.model_dump())
        storage.write_bytes(f"{folder}/{name}/model.safetensors", save(parameters))
        storage.write_json(f"{folder}/{name}/calibration.json", calibration)
    storage.write_json(decision_key(folder), dict(decision))
    return EnsembleRef(folder, tuple(heads), "v1")
