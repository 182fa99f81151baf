"""Whether requests are like the pool: the margins of both, compared in ten bins.

Suffixes: N samples, B bins.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from umc_ray.campaign.state import round_folder
from umc_ray.methods.drift import IntArray, population_stability
from umc_ray.records import FloatArray
from umc_ray.storage import Storage

BINS = 10
PARTS = 32
"""Parts of the pool that are read: of 10,000 samples each, by default."""

RECENT, ENOUGH = 5000, 200
"""Samples of requests that are compared; with fewer than ENOUGH, nothing is said."""


@dataclass(frozen=True)
class Reference:
    """Margins of a task's pool: edges between bins of equal size, and the counts in them."""

    edges: FloatArray
    counts_B: IntArray

    def bins(self, margins_N: FloatArray) -> IntArray:
        """Return the bin of each margin."""
        return np.searchsorted(self.edges, margins_N, side="right").astype(np.int64)


@lru_cache(maxsize=16)
def pool_reference(storage: Storage, task: str, number: int) -> Reference | None:
    """Read the margins that a round's specialists gave to the pool; None if there are none.

    Raises:
        StoreError: they cannot be read.
    """
    keys = storage.keys(f"{round_folder(number)}/scores/pool/{task}")
    chosen = keys[:: max(1, len(keys) // PARTS)][:PARTS]
    found = [storage.read_table(key, ["margin"])["margin"].to_numpy() for key in chosen]
    margins_N = np.concatenate(found) if found else np.empty(0, dtype=np.float32)
    margins_N = margins_N[np.isfinite(margins_N)]
    if not len(margins_N):
        return None
    edges = np.quantile(margins_N, np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.float32)
    reference = Reference(edges, np.empty(0, dtype=np.int64))
    counts_B = np.bincount(reference.bins(margins_N), minlength=BINS)
    return Reference(edges, counts_B.astype(np.int64))


class RecentMargins:
    """Those of the last requests of a task, all by one version."""

    def __init__(self) -> None:
        self.version, self.margins = "", deque[float](maxlen=RECENT)

    def observe(self, version: str, margins: Sequence[float]) -> None:
        """Take note of what a version said; what another said before is forgotten."""
        if version != self.version:
            self.version = version
            self.margins.clear()
        self.margins.extend(margins)

    def drift(self, reference: Reference | None) -> float | None:
        """Return how far they are from the pool; None as long as they are too few."""
        if reference is None or len(self.margins) < ENOUGH:
            return None
        margins_N = np.array(self.margins, dtype=np.float32)
        found_B = np.bincount(reference.bins(margins_N), minlength=BINS)
        return population_stability(reference.counts_B, found_B.astype(np.int64))
