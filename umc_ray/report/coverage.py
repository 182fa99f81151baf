"""A map of the labeled samples in a task's pool: two dimensions, drawn from a sample.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.campaign.history import History, of_domains
from umc_ray.records import DomainKey, Part, embeddings_array
from umc_ray.selection.labeled import read_embeddings

MAX_SAMPLES = 2000
"""How many pool samples, and how many labeled ones, a map shows at most."""

MAX_PARTS = 3
"""Parts that are read per domain, whatever its size."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CoverageMap:
    """Positions of pool samples and of labeled samples, and the rounds of the latter."""

    pool_N2: Floats
    labeled_N2: Floats
    rounds_N: npt.NDArray[np.int64]


def coverage_map(history: History, task: str) -> CoverageMap | None:
    """Project a task onto the first two principal components of a sample of its pool.

    None if the task has no queried samples.
    Source: Pearson 1901, On lines and planes of closest fit (principal components).
    """
    from sklearn.decomposition import PCA  # takes a second to import

    domain_keys = [domain_key for domain_key in history.domains if domain_key.task == task]
    queried = of_domains(history.batches, domain_keys)
    if not len(queried):
        return None
    pool_ND = _sample_pool(history, domain_keys)
    shown = np.sort(np.random.default_rng(0).permutation(len(queried))[:MAX_SAMPLES])
    queried = queried.take(pa.array(shown))
    pools = [part for key in domain_keys for part in history.run.pool(key)]
    labeled_ND = read_embeddings(history.run.storage, pools, history.features(task), queried)
    there_N = np.isfinite(labeled_ND).all(axis=1)  # others are forgotten
    pca = PCA(min(2, *pool_ND.shape), svd_solver="randomized", random_state=0).fit(pool_ND)
    return CoverageMap(
        pool_N2=_pad_to_2d(pca.transform(pool_ND)),
        labeled_N2=_pad_to_2d(pca.transform(labeled_ND[there_N])),
        rounds_N=queried["round"].to_numpy()[there_N],
    )


def _pad_to_2d(rows_ND: Floats) -> Floats:
    """Add a second coordinate if there is only one."""
    return np.pad(rows_ND, ((0, 0), (0, 2 - rows_ND.shape[1])))


def _sample_pool(history: History, domain_keys: Sequence[DomainKey]) -> Floats:
    """Read embeddings of each domain, in proportion to its size."""
    sizes = [sum(part.rows for part in history.run.pool(domain_key)) for domain_key in domain_keys]
    counts = [max(1, MAX_SAMPLES * size // sum(sizes)) for size in sizes]
    return np.concatenate(
        [_sample_domain(history, *pair) for pair in zip(domain_keys, counts, strict=True)]
    )


def _sample_domain(history: History, domain_key: DomainKey, count: int) -> Floats:
    parts = _evenly_spaced(history.run.pool(domain_key))
    rng = np.random.default_rng(0)
    embeddings = []
    for part in parts:
        key = part.key(history.features(domain_key.task))
        table = history.run.storage.read_table(key, ["embedding"])
        picks = np.sort(rng.permutation(part.rows)[: -(-count // len(parts))])
        embeddings.append(embeddings_array(table["embedding"].take(pa.array(picks))))
    found_ND = np.concatenate(embeddings)[:count].astype(np.float32)
    usable_ND: Floats = found_ND[np.isfinite(found_ND).all(axis=1)]
    return usable_ND


def _evenly_spaced(parts: Sequence[Part]) -> list[Part]:
    """Pick at most MAX_PARTS parts, spread evenly."""
    indices = np.unique(np.linspace(0, len(parts) - 1, MAX_PARTS).round().astype(int))
    return [parts[i] for i in indices]
