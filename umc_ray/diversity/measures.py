"""How varied the labeled samples of a domain are, and how well synthetic ones imitate real ones.

At most MOST samples of each side are compared, random ones of more: a CPU second a domain and round
in 384 dimensions, whatever the size of the pool, and half a one for each generator.

Suffixes: N samples of the pool, L labeled samples, M synthetic ones, D embedding dimension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from umc_ray.methods.balance import balance
from umc_ray.methods.diversity import NEIGHBORS, novelty
from umc_ray.methods.prdc import prdc
from umc_ray.records import FloatArray, IntArray
from umc_ray.tasks.quality import Estimate

MOST = 5000

DRAWN = 50
"""Samples of each side that PRDC compares at once: always as many, for its values depend on it."""

Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Imitation:
    """How the synthetic samples of a generator compare with real ones.

    `new` is the share that is unlike all labeled real samples. The others compare them with the
    pool: the share of them that is like real ones (precision), the share of real ones that is like
    one of them (recall), how many real ones are around each of them beside what is usual (density),
    and the share of real ones with one of them nearby (coverage).
    """

    samples: int
    new: Estimate
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


@dataclass(frozen=True)
class Diversity:
    """How varied the labeled samples of a domain are.

    `classes`, `clusters` and `groups` say how evenly they are spread over classes, over clusters of
    the pool, and over the groups of each column: 1 if all are equally large, 0 if only one has any.
    `random_clusters` is what as many random samples of the pool have. `new` is the share of the
    newest round's samples that is unlike all that were labeled before.
    """

    classes: Estimate | None = None
    clusters: Estimate | None = None
    random_clusters: Estimate | None = None
    new: Estimate | None = None
    groups: dict[str, Estimate] = field(default_factory=dict)
    synthetic: dict[str, Imitation] = field(default_factory=dict)


def evenness(sizes: Sequence[int]) -> Estimate | None:
    """Return how even the sizes of classes, groups or domains are; None where that says nothing."""
    if len(sizes) < 2 or not sum(sizes):
        return None
    return Estimate(*balance(np.repeat(np.arange(len(sizes)), sizes), len(sizes)))


def cluster_evenness(
    labeled_L: IntArray, pool_N: IntArray, k: int
) -> tuple[Estimate, Estimate] | None:
    """Return how evenly labeled samples occupy k clusters, and as many random ones of the pool."""
    if k < 2 or not len(labeled_L) or not len(pool_N):
        return None
    drawn_L = np.random.default_rng(0).choice(pool_N, len(labeled_L), len(pool_N) < len(labeled_L))
    return Estimate(*balance(labeled_L, k)), Estimate(*balance(drawn_L, k))


def newest_novelty(labeled_LD: FloatArray, rounds_L: Numbers) -> Estimate | None:
    """Return how many samples of the newest round are unlike all that were labeled before it."""
    newest_L = rounds_L == rounds_L.max(initial=-1)
    before_LD = some(labeled_LD[~newest_L])
    if len(before_LD) <= NEIGHBORS:
        return None
    return Estimate(*novelty(some(labeled_LD[newest_L]), before_LD))


def imitations(
    synthetic: Mapping[str, FloatArray], labeled_LD: FloatArray, pool_ND: FloatArray
) -> dict[str, Imitation]:
    """Compare the synthetic samples MD of each generator that has enough of them with real ones."""
    if len(labeled_LD) <= NEIGHBORS or len(pool_ND) < 2 * DRAWN:
        return {}
    return {
        name: _imitation(some(made_MD), some(labeled_LD), some(pool_ND))
        for name, made_MD in synthetic.items()
        if len(made_MD) >= 2 * DRAWN
    }


def _imitation(made_MD: FloatArray, labeled_LD: FloatArray, pool_ND: FloatArray) -> Imitation:
    found = prdc(pool_ND, made_MD, DRAWN)
    return Imitation(
        samples=len(made_MD),
        new=Estimate(*novelty(made_MD, labeled_LD)),
        precision=Estimate(*found.precision),
        recall=Estimate(*found.recall),
        density=Estimate(*found.density),
        coverage=Estimate(*found.coverage),
    )


def some(x_ND: FloatArray) -> FloatArray:
    """Return all samples, or MOST random ones."""
    if len(x_ND) <= MOST:
        return x_ND
    chosen: FloatArray = x_ND[np.random.default_rng(0).choice(len(x_ND), MOST, replace=False)]
    return chosen
