"""Where in a task's pool the labels lie: a map in two dimensions, drawn from a sample.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.records import Arm, Part, embeddings_array
from umc_ray.run import Run

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


def task_map(run: Run, task: str, batches: pa.Table) -> Map:
    """Project a task onto the two directions in which a sample of its pool varies most.

    `batches` are all batches of the task's rounds, with the column round.
    Source: Pearson 1901, On lines and planes of closest fit (principal components).
    """
    from sklearn.decomposition import PCA  # takes a second to import

    pool_ND = _sample_pool(run, task)
    shown = np.sort(np.random.default_rng(0).permutation(len(batches))[:SAMPLE])
    batches = batches.take(pa.array(shown))
    labeled_ND = embeddings_array(batches["embedding"]).astype(np.float32)
    directions = PCA(min(2, *pool_ND.shape), svd_solver="randomized", random_state=0).fit(pool_ND)
    return Map(
        pool_N2=_pair(directions.transform(pool_ND)),
        labeled_N2=_pair(directions.transform(labeled_ND)),
        rounds_N=batches["round"].to_numpy(),
    )


def _pair(rows_ND: Floats) -> Floats:
    """Give rows a second coordinate if they have one only."""
    return np.pad(rows_ND, ((0, 0), (0, 2 - rows_ND.shape[1])))


def _sample_pool(run: Run, task: str) -> Floats:
    """Read rows of some parts of each domain, each domain in proportion to its size."""
    arms = [arm for arm in run.config.domains() if arm.task == task]
    sizes = {arm: sum(part.rows for part in run.pool(arm)) for arm in arms}
    total = sum(sizes.values())
    tables = [
        _sample_arm(run, arm, max(1, SAMPLE * size // total)) for arm, size in sizes.items() if size
    ]
    return np.concatenate(tables)


def _sample_arm(run: Run, arm: Arm, rows: int) -> Floats:
    parts = _spread(run.pool(arm))
    rng = np.random.default_rng(0)
    found = []
    for part in parts:
        table = run.storage.read_table(part.key(run.features[arm.task]), ["embedding"])
        picks = np.sort(rng.permutation(part.rows)[: -(-rows // len(parts))])
        found.append(embeddings_array(table["embedding"].take(pa.array(picks))))
    return np.concatenate(found)[:rows].astype(np.float32)


def _spread(parts: Sequence[Part]) -> list[Part]:
    """Pick parts evenly over a domain."""
    places = np.unique(np.linspace(0, len(parts) - 1, PARTS).round().astype(int))
    return [parts[place] for place in places]
