"""Where in a task's pool the labels lie: a map in two dimensions, drawn from a sample.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.campaign.history import History, of_domains
from umc_ray.records import DomainKey, Part, embeddings_array

SAMPLE = 2000
"""Rows of a task's pool, and labeled ones, that a map shows at most."""

PARTS = 3
"""Parts of a domain that are read at most, whatever its size."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Map:
    """Positions of a sample of the pool and of labeled samples, with the round of these."""

    pool_N2: Floats
    labeled_N2: Floats
    rounds_N: npt.NDArray[np.int64]


def task_map(history: History, task: str) -> Map | None:
    """Project a task onto the two directions in which a sample of its pool varies most.

    None if nothing was asked about it.
    Source: Pearson 1901, On lines and planes of closest fit (principal components).
    """
    from sklearn.decomposition import PCA  # takes a second to import

    domain_keys = [domain_key for domain_key in history.domain_keys if domain_key.task == task]
    asked = of_domains(history.batches, domain_keys)
    if not len(asked):
        return None
    pool_ND = _sample_pool(history, domain_keys)
    shown = np.sort(np.random.default_rng(0).permutation(len(asked))[:SAMPLE])
    asked = asked.take(pa.array(shown))
    labeled_ND = embeddings_array(asked["embedding"]).astype(np.float32)
    directions = PCA(min(2, *pool_ND.shape), svd_solver="randomized", random_state=0).fit(pool_ND)
    return Map(
        pool_N2=_pair(directions.transform(pool_ND)),
        labeled_N2=_pair(directions.transform(labeled_ND)),
        rounds_N=asked["round"].to_numpy(),
    )


def _pair(rows_ND: Floats) -> Floats:
    """Give rows a second coordinate if they have one only."""
    return np.pad(rows_ND, ((0, 0), (0, 2 - rows_ND.shape[1])))


def _sample_pool(history: History, domain_keys: Sequence[DomainKey]) -> Floats:
    """Read rows of some parts of each domain, each domain in proportion to its size."""
    sizes = [sum(part.rows for part in history.run.pool(domain_key)) for domain_key in domain_keys]
    rows = [max(1, SAMPLE * size // sum(sizes)) for size in sizes]
    return np.concatenate(
        [_sample_domain(history, *pair) for pair in zip(domain_keys, rows, strict=True)]
    )


def _sample_domain(history: History, domain_key: DomainKey, rows: int) -> Floats:
    parts = _spread(history.run.pool(domain_key))
    rng = np.random.default_rng(0)
    found = []
    for part in parts:
        key = part.key(history.features(domain_key.task))
        table = history.run.storage.read_table(key, ["embedding"])
        picks = np.sort(rng.permutation(part.rows)[: -(-rows // len(parts))])
        found.append(embeddings_array(table["embedding"].take(pa.array(picks))))
    return np.concatenate(found)[:rows].astype(np.float32)


def _spread(parts: Sequence[Part]) -> list[Part]:
    """Pick parts evenly over a domain."""
    places = np.unique(np.linspace(0, len(parts) - 1, PARTS).round().astype(int))
    return [parts[place] for place in places]
