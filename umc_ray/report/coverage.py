"""The labeled samples of a task among those of its pool: a map, and how much they cover.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.campaign.history import History, of_domains
from umc_ray.methods.diversity import coverage, covered, effective_number, vendi
from umc_ray.methods.threads import one_thread
from umc_ray.records import DomainKey, IntArray
from umc_ray.selection.labeled import read_embeddings
from umc_ray.selection.reference import sample_pool

MAX_SAMPLES = 2000
"""How many pool samples, and how many labeled ones, a map shows at most."""

MAX_PARTS = 3
"""Parts that are read per domain, whatever its size."""

DRAWS = 5
"""Random draws with which the labeled samples are compared."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CoverageMap:
    """Positions of pool samples and of labeled samples, and the rounds of the latter."""

    pool_N2: Floats
    labeled_N2: Floats
    rounds_N: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TaskSamples:
    """A sample of a task's pool, and all its labeled samples: NaN where one is forgotten."""

    pool_ids_N: IntArray
    pool_ND: Floats
    labeled: pa.Table
    labeled_ND: Floats

    @property
    def there_N(self) -> npt.NDArray[np.bool_]:
        """Which labeled samples still have an embedding."""
        return np.asarray(np.isfinite(self.labeled_ND).all(axis=1))


def task_samples(history: History, task: str) -> TaskSamples | None:
    """Read the samples that the report measures; None if the task has no queried samples."""
    domain_keys = [domain_key for domain_key in history.domains if domain_key.task == task]
    queried = of_domains(history.batches, domain_keys)
    if not len(queried):
        return None
    pools = [part for key in domain_keys for part in history.run.pool(key)]
    found_ND = read_embeddings(history.run.storage, pools, history.features(task), queried)
    return TaskSamples(*_sample_pool(history, domain_keys), queried, found_ND.astype(np.float32))


def coverage_map(samples: TaskSamples) -> CoverageMap:
    """Project a task onto the first two principal components of a sample of its pool.

    Source: Pearson 1901, On lines and planes of closest fit (principal components).
    """
    from sklearn.decomposition import PCA  # takes a second to import

    pool_ND, n = samples.pool_ND, len(samples.labeled)
    shown = np.sort(np.random.default_rng(0).permutation(n)[:MAX_SAMPLES])
    shown = shown[samples.there_N[shown]]
    pca = PCA(min(2, *pool_ND.shape), svd_solver="randomized", random_state=0).fit(pool_ND)
    return CoverageMap(
        pool_N2=_pad_to_2d(pca.transform(pool_ND)),
        labeled_N2=_pad_to_2d(pca.transform(samples.labeled_ND[shown])),
        rounds_N=samples.labeled["round"].to_numpy()[shown],
    )


@dataclass(frozen=True)
class Reach:
    """How much of a pool samples cover, and how many different ones they are in effect (Vendi)."""

    coverage: tuple[float, float, float]
    vendi: tuple[float, float, float]


@dataclass(frozen=True)
class Diversity:
    """The labeled samples of a task, and as many random ones of its pool.

    Of the random ones, the mean of several draws with the lowest and the highest.
    """

    task: str
    samples: int
    labeled: Reach
    random: Reach
    pool_vendi: tuple[float, float, float]


@one_thread()
def diversity(task: str, samples: TaskSamples) -> Diversity | None:
    """Compare the labeled samples of a task with as many random ones.

    Both cover what is left of a sample of the pool without them. None if too little is left.
    """
    pool_ND, labeled_ND = samples.pool_ND, samples.labeled_ND[samples.there_N]
    open_ND = pool_ND[~np.isin(samples.pool_ids_N, samples.labeled["sample_id"].to_numpy())]
    n = min(len(labeled_ND), len(pool_ND) // 2)
    if n < 2 or not len(open_ND):
        return None
    rng = np.random.default_rng(0)
    labeled_ND = labeled_ND[rng.permutation(len(labeled_ND))[:n]]
    orders = [rng.permutation(len(pool_ND)) for _ in range(DRAWS)]
    return Diversity(
        task,
        n,
        labeled=Reach(coverage(open_ND, labeled_ND), vendi(labeled_ND)),
        random=Reach(
            _mean_and_range([covered(pool_ND[o[n:]], pool_ND[o[:n]]).mean() for o in orders]),
            _mean_and_range([effective_number(pool_ND[order[:n]]) for order in orders]),
        ),
        pool_vendi=vendi(pool_ND),
    )


def _mean_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.mean(values)), float(min(values)), float(max(values))


def _pad_to_2d(rows_ND: Floats) -> Floats:
    """Add a second coordinate if there is only one."""
    return np.pad(rows_ND, ((0, 0), (0, 2 - rows_ND.shape[1])))


def _sample_pool(history: History, domain_keys: Sequence[DomainKey]) -> tuple[IntArray, Floats]:
    """Read ids and embeddings of each domain, in proportion to its size."""
    sizes = [sum(part.rows for part in history.run.pool(domain_key)) for domain_key in domain_keys]
    counts = [max(1, MAX_SAMPLES * size // sum(sizes)) for size in sizes]
    found = [
        sample_pool(
            history.run.storage, history.run.pool(key), history.features(key.task), n, MAX_PARTS
        )
        for key, n in zip(domain_keys, counts, strict=True)
    ]
    ids = [places["sample_id"].to_numpy() for places, _ in found]
    return np.concatenate(ids), np.concatenate([each_ND for _, each_ND in found])
