"""k-means of points that are spread over several processes.

Each process holds a shard: some whole parts of the points. The driver combines partial results.
The result depends on the parts and the seed, not on which shard holds which part: random numbers
are drawn per part, blocks end where a part ends, and sums are exact. (A float16 is a multiple of
2^-24, so float64 sums of unit vectors are exact below 5 x 10^8 rows per cluster.)

Suffixes: N samples of a part, D embedding dimension, K clusters, C candidates, B rows of a block.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods.clustering import ROUNDING, Clusters, assign, kmeans, squared_norms

Half = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CallShards = Callable[..., list[Any]]
"""Calls a method by name on all shards, with the same arguments, and returns their results."""

_BLOCK_ROWS = 4096
_SEED_ROUNDS = 5
_MIN_DRAWS = 64  # candidates per round, even for few clusters


@dataclass(frozen=True)
class Points:
    """Points with their values and their positions (part and row); lowest value first."""

    values_N: Floats
    parts_N: Ints
    rows_N: Ints
    points_ND: Floats

    def best(self, size: int) -> "Points":
        """Return the points with the lowest values; ties go to the first part and row."""
        order = np.lexsort((self.rows_N, self.parts_N, self.values_N))[:size]
        return Points(*(each[order] for each in vars(self).values()))

    @classmethod
    def best_of_all(cls, groups: list["Points"], size: int) -> "Points":
        """Return the points with the lowest values in all groups."""
        names = cls.__dataclass_fields__
        joined = [np.concatenate([getattr(group, name) for group in groups]) for name in names]
        return cls(*joined).best(size)


class Shard:
    """Some parts of the points, by number, as float16; rows that are not finite are ignored."""

    def __init__(self, parts: Iterable[tuple[int, Half]]) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.sizes: dict[int, int] = {}
        self.rows: dict[int, npt.NDArray[np.intp]] = {}  # finite ones
        self.parts: dict[int, Tensor] = {}
        self.nearest: dict[int, Tensor] = {}  # squared distance to the nearest center
        self.owner: dict[int, Tensor] = {}
        for i, x_ND in parts:  # one at a time, so that only one part is in memory twice
            self.sizes[i], self.rows[i] = len(x_ND), np.flatnonzero(np.isfinite(x_ND).all(1))
            self.parts[i] = torch.from_numpy(x_ND[self.rows[i]]).to(self.device)

    def totals(self) -> tuple[int, Doubles]:
        """Return the number of points and their sum."""
        sums = [x.sum(0, dtype=torch.float64).cpu().numpy() for x in self.parts.values()]
        return sum(map(len, self.rows.values())), np.sum(sums, axis=0)

    def begin(self, mean_D: Floats) -> None:
        """Set the mean of all points: distances of centered points lose the fewest digits."""
        self.mean_D = torch.tensor(mean_D, device=self.device)
        for i, x_ND in self.parts.items():
            self.nearest[i] = torch.full((len(x_ND),), torch.inf, device=self.device)
            self.owner[i] = torch.zeros(len(x_ND), dtype=torch.int32, device=self.device)

    def _blocks(self, part: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the centered rows of a part in blocks, with their positions."""
        x_ND = self.parts[part]
        for start in range(0, len(x_ND), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            yield rows, x_ND[rows].float() - self.mean_D

    def draw(self, seed: int, round: int, size: int) -> Points:
        """Draw points with odds proportional to their squared distance to the nearest candidate.

        In round 0 all points have the same odds.
        """
        draws = []
        for i, nearest_N in self.nearest.items():
            state = np.random.SeedSequence([seed, round, i]).generate_state(1)
            generator = torch.Generator().manual_seed(int(state[0]))
            race_N = torch.empty(len(nearest_N)).exponential_(generator=generator)
            mass_N = nearest_N.cpu() if round else torch.ones(len(nearest_N))
            race_N = torch.where(mass_N > 0, race_N / mass_N, torch.inf)
            draws.append(self._lowest(i, race_N, size))
        drawn = Points.best_of_all(draws, size)
        return drawn.best(int(np.isfinite(drawn.values_N).sum()))

    def _lowest(self, part: int, values_N: Tensor, size: int) -> Points:
        """Return the points of a part with the lowest values."""
        rows = values_N.sort(stable=True).indices[:size]
        points_ND = self.parts[part][rows.to(self.device)].float() - self.mean_D
        parts_N = np.full(len(rows), part, np.int64)
        return Points(values_N[rows].numpy(), parts_N, rows.numpy(), points_ND.cpu().numpy())

    def add_candidates(self, candidates_CD: Floats, first: int) -> None:
        """Reassign points that are nearer to a new candidate; these are numbered from `first`."""
        centers_CD = torch.tensor(candidates_CD, device=self.device)
        for i in self.parts:
            for rows, x_BD in self._blocks(i):
                labels_B, distance_B = assign(x_BD, centers_CD)
                nearest_B, owner_B = self.nearest[i][rows], self.owner[i][rows]
                nearer_B = distance_B < nearest_B
                owner_B[nearer_B] = labels_B[nearer_B].int() + first
                nearest_B.clamp_max_(distance_B)
                nearest_B[nearest_B <= ROUNDING * squared_norms(x_BD)] = 0

    def count_points(self, candidates: int) -> Ints:
        """Return the number of points of each candidate."""
        owners_N = torch.cat(list(self.owner.values()))
        counts_C: Ints = owners_N.bincount(minlength=candidates).cpu().numpy()
        return counts_C

    def assign(self, centers_KD: Floats) -> tuple[Doubles, Ints, dict[int, float]]:
        """Assign points to the nearest center; returns sums and counts by center, costs by part."""
        centers = torch.tensor(centers_KD, device=self.device)
        sums_KD = torch.zeros(centers.shape, dtype=torch.float64, device=self.device)
        counts_K = torch.zeros(len(centers), dtype=torch.int64, device=self.device)
        costs = {}
        for i, x_ND in self.parts.items():
            for rows, x_BD in self._blocks(i):
                labels_B, distance_B = assign(x_BD, centers)
                self.nearest[i][rows], self.owner[i][rows] = distance_B, labels_B.int()
                sums_KD.index_add_(0, labels_B, x_ND[rows].double())
                counts_K += labels_B.bincount(minlength=len(centers))
            costs[i] = float(self.nearest[i].sum(dtype=torch.float64))
        return sums_KD.cpu().numpy(), counts_K.cpu().numpy(), costs

    def farthest(self, size: int) -> Points:
        """Return the points farthest from their centers."""
        groups = [self._lowest(i, -nearest_N.cpu(), size) for i, nearest_N in self.nearest.items()]
        return Points.best_of_all(groups, size)

    def labels(self) -> dict[int, Ints]:
        """Return the center of each row by part; -1 for rows that are not finite."""
        labels = {}
        for i, owner_N in self.owner.items():
            labels[i] = np.full(self.sizes[i], -1, np.int64)
            labels[i][self.rows[i]] = owner_N.cpu().numpy()
        return labels


def sharded_kmeans(
    call: CallShards, k: int, *, seed: int, iterations: int = 20, tol: float = 1e-3
) -> Clusters:
    """Cluster the points of all shards like `kmeans`; labels are in the order of the parts.

    Seeding draws candidates in rounds and reduces them to k with a weighted k-means.

    Raises:
        DataError: there are no points.
        ConfigError: k < 1.

    Source: Bahmani et al. 2012, Scalable K-Means++ (k-means||, exactly k candidates a round).
    """
    if k < 1:
        raise ConfigError(f"k-means needs at least one cluster, got k = {k}")
    mean_D = _mean(call)
    call("begin", mean_D)
    centers_KD = _lloyd(call, _seed_centers(call, k, seed), mean_D, iterations, tol)
    _, counts_K, cost = _assign_all(call, centers_KD)
    present_K = counts_K > 0
    number_K = np.append(np.cumsum(present_K) - 1, -1)  # the last entry keeps label -1
    by_part = {i: labels for shard in call("labels") for i, labels in shard.items()}
    return Clusters(
        labels_N=number_K[np.concatenate([by_part[i] for i in sorted(by_part)])],
        centers_KD=centers_KD[present_K] + mean_D,
        inertia=cost,
        n_empty=k - int(present_K.sum()),
        backend="torch",
    )


def _mean(call: CallShards) -> Floats:
    counts, sums = zip(*call("totals"), strict=True)
    if not sum(counts):
        raise DataError("k-means needs points, but all shards are empty")
    mean_D: Floats = (np.sum(sums, axis=0) / sum(counts)).astype(np.float32)
    return mean_D


def _seed_centers(call: CallShards, k: int, seed: int) -> Floats:
    """Draw candidates in rounds, weigh each by its points, and reduce them to k."""
    candidates_CD = Points.best_of_all(call("draw", seed, 0, 1), 1).points_ND
    call("add_candidates", candidates_CD, 0)
    for round in range(1, _SEED_ROUNDS + 1):
        size = max(k, _MIN_DRAWS)
        new_CD = Points.best_of_all(call("draw", seed, round, size), size).points_ND
        if not len(new_CD):  # every distinct point is a candidate already
            break
        call("add_candidates", new_CD, len(candidates_CD))
        candidates_CD = np.concatenate([candidates_CD, new_CD])
    weight_C = np.sum(call("count_points", len(candidates_CD)), axis=0)
    clusters = kmeans(
        torch.from_numpy(candidates_CD),
        k,
        seed=seed,
        sample_weight_N=torch.from_numpy(weight_C).float(),
    )
    return clusters.centers_KD


def _lloyd(
    call: CallShards, centers_KD: Floats, mean_D: Floats, iterations: int, tol: float
) -> Floats:
    """Move centers to the means of their points, and empty ones to the farthest points."""
    previous = float("inf")
    for _ in range(iterations):
        sums_KD, counts_K, cost = _assign_all(call, centers_KD)
        means_KD = sums_KD / np.maximum(counts_K, 1)[:, None] - mean_D
        empty_K = np.flatnonzero(counts_K == 0)
        if len(empty_K):
            far = Points.best_of_all(call("farthest", len(empty_K)), len(empty_K))
            means_KD[empty_K] = far.points_ND
        centers_KD = means_KD.astype(np.float32)
        if cost >= (1 - tol) * previous:
            break
        previous = cost
    return centers_KD


def _assign_all(call: CallShards, centers_KD: Floats) -> tuple[Doubles, Ints, float]:
    """Assign all points and add up the results of the shards, costs in the order of the parts."""
    sums, counts, costs = zip(*call("assign", centers_KD), strict=True)
    by_part = {i: cost for shard in costs for i, cost in shard.items()}
    cost = float(np.sum([by_part[i] for i in sorted(by_part)]))
    return np.sum(sums, axis=0), np.sum(counts, axis=0), cost
