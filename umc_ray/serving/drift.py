"""Drift detection: whether requests resemble the pool, by the margins of both in ten bins.

Suffixes: N samples, B bins.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from umc_ray.campaign.documents import Rescored
from umc_ray.campaign.state import RESCORED, round_folder
from umc_ray.methods.drift import IntArray, population_stability
from umc_ray.records import FloatArray
from umc_ray.storage import Storage

MARGIN = "margin"
"""The measure that is compared; there is no drift of a task whose kind has none."""

BINS = 10
PARTS = 32
"""Parts of the pool that are read, of 10,000 samples each by default."""

RECENT, MIN_RECENT = 5000, 200
"""How many request samples are compared at most, and at least."""


@dataclass(frozen=True)
class Reference:
    """The margins of a task's pool: the edges of bins of equal size, and the counts per bin."""

    edges: FloatArray
    counts_B: IntArray


@lru_cache(maxsize=16)
def pool_reference(storage: Storage, task: str, number: int) -> Reference | None:
    """Read the margins of the pool in a round's scores; None if there are none.

    There are none either where heads have scored most of the pool: requests are scored by all
    specialists, so their margins differ from those without any drift.

    Raises:
        StoreError: the scores cannot be read.
    """
    rescored = f"{round_folder(number)}/{RESCORED}"
    if storage.exists(rescored) and task in storage.read_record(rescored, Rescored).tasks:
        return None
    keys = storage.keys(f"{round_folder(number)}/scores/pool/{task}")
    sampled = keys[:: max(1, len(keys) // PARTS)][:PARTS]
    parts = [storage.read_table(key, [MARGIN])[MARGIN].to_numpy() for key in sampled]
    margins_N = np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)
    margins_N = margins_N[np.isfinite(margins_N)]
    if not len(margins_N):
        return None
    edges = np.quantile(margins_N, np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.float32)
    return Reference(edges, _count(margins_N, edges))


def _count(margins_N: FloatArray, edges: FloatArray) -> IntArray:
    """Count the margins in each bin."""
    bins_N = np.searchsorted(edges, margins_N, side="right")
    return np.bincount(bins_N, minlength=BINS).astype(np.int64)


class RecentMargins:
    """The margins of a task's latest requests, all from one version."""

    def __init__(self) -> None:
        self.version, self.margins = "", deque[float](maxlen=RECENT)

    def observe(self, version: str, margins: Sequence[float]) -> None:
        """Record margins; those of another version are discarded."""
        if version != self.version:
            self.version = version
            self.margins.clear()
        self.margins.extend(margins)

    def drift(self, reference: Reference | None) -> float | None:
        """Return the population stability index against the pool; None for too few margins."""
        if reference is None or len(self.margins) < MIN_RECENT:
            return None
        margins_N = np.array(self.margins, dtype=np.float32)
        return population_stability(reference.counts_B, _count(margins_N, reference.edges))
