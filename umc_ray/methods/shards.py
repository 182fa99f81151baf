"""k-means of points that lie in several processes: each holds whole parts, one adds up.

The result depends on the parts and the seed, not on who holds which part: random numbers belong to
a part, blocks end where a part ends, and sums are exact. (A float16 is a multiple of 2^-24, so that
float64 sums of unit vectors lose no bit below 5 x 10^8 rows of a cluster.)

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
from umc_ray.methods.clustering import SAME, Clusters, assign, kmeans, squared_norms

Half = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Ask = Callable[..., list[Any]]
"""Calls the method of that name of all shards, with the same arguments."""

_BLOCK_ROWS = 4096
_SEED_ROUNDS = 5
_FEWEST_DRAWS = 64  # candidates of a round, also for few clusters


@dataclass(frozen=True)
class Points:
    """Points of a shard, by the number of their part and their row; the best value comes first."""

    values_N: Floats
    parts_N: Ints
    rows_N: Ints
    points_ND: Floats

    def best(self, size: int) -> "Points":
        """Keep the points of the lowest values; ties go to the first part and row."""
        order = np.lexsort((self.rows_N, self.parts_N, self.values_N))[:size]
        return Points(*(each[order] for each in vars(self).values()))

    @classmethod
    def of_all(cls, found: list["Points"], size: int) -> "Points":
        """Keep the best of all shards."""
        names = cls.__dataclass_fields__
        joined = [np.concatenate([getattr(each, name) for each in found]) for name in names]
        return cls(*joined).best(size)


class Shard:
    """Parts of the points, by number, as float16; rows that are not finite do not count."""

    def __init__(self, parts: Iterable[tuple[int, Half]]) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.sizes: dict[int, int] = {}
        self.rows: dict[int, npt.NDArray[np.intp]] = {}  # that are finite
        self.parts: dict[int, Tensor] = {}
        self.nearest: dict[int, Tensor] = {}  # squared distance to the own candidate or center
        self.owner: dict[int, Tensor] = {}
        for i, x_ND in parts:  # one at a time, so that no part is held twice but the last
            self.sizes[i], self.rows[i] = len(x_ND), np.flatnonzero(np.isfinite(x_ND).all(1))
            self.parts[i] = torch.from_numpy(x_ND[self.rows[i]]).to(self.device)

    def totals(self) -> tuple[int, Doubles]:
        """Return how many points there are, and their sum."""
        sums = [x.sum(0, dtype=torch.float64).cpu().numpy() for x in self.parts.values()]
        return sum(map(len, self.rows.values())), np.sum(sums, axis=0)

    def begin(self, mean_D: Floats) -> None:
        """Take the mean of all points, around which distances lose the fewest digits."""
        self.mean_D = torch.tensor(mean_D, device=self.device)
        for i, x_ND in self.parts.items():
            self.nearest[i] = torch.full((len(x_ND),), torch.inf, device=self.device)
            self.owner[i] = torch.zeros(len(x_ND), dtype=torch.int32, device=self.device)

    def _blocks(self, part: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the centred rows of a part, some at a time; what is kept of them stays in place."""
        x_ND = self.parts[part]
        for start in range(0, len(x_ND), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            yield rows, x_ND[rows].float() - self.mean_D

    def draw(self, seed: int, turn: int, size: int) -> Points:
        """Draw points with odds by their squared distance to their candidate; at first, any."""
        found = []
        for i, nearest_N in self.nearest.items():
            state = np.random.SeedSequence([seed, turn, i]).generate_state(1)
            generator = torch.Generator().manual_seed(int(state[0]))
            race_N = torch.empty(len(nearest_N)).exponential_(generator=generator)
            mass_N = nearest_N.cpu() if turn else torch.ones(len(nearest_N))
            race_N = torch.where(mass_N > 0, race_N / mass_N, torch.inf)
            found.append(self._points(i, race_N, size))
        drawn = Points.of_all(found, size)
        return drawn.best(int(np.isfinite(drawn.values_N).sum()))

    def _points(self, part: int, values_N: Tensor, size: int) -> Points:
        """Return the points of a part that have the lowest values."""
        rows = values_N.sort(stable=True).indices[:size]
        points_ND = self.parts[part][rows.to(self.device)].float() - self.mean_D
        parts_N = np.full(len(rows), part, np.int64)
        return Points(values_N[rows].numpy(), parts_N, rows.numpy(), points_ND.cpu().numpy())

    def compare(self, candidates_CD: Floats, first: int) -> None:
        """Give points a new candidate where it is nearer; it is the `first`-th or a later one."""
        centers_CD = torch.tensor(candidates_CD, device=self.device)
        for i in self.parts:
            for rows, x_BD in self._blocks(i):
                labels_B, distance_B = assign(x_BD, centers_CD)
                nearest_B, owner_B = self.nearest[i][rows], self.owner[i][rows]
                nearer_B = distance_B < nearest_B
                owner_B[nearer_B] = labels_B[nearer_B].int() + first
                nearest_B.clamp_max_(distance_B)
                nearest_B[nearest_B <= SAME * squared_norms(x_BD)] = 0

    def owned(self, candidates: int) -> Ints:
        """Count the points of each candidate."""
        owners_N = torch.cat(list(self.owner.values()))
        counts_C: Ints = owners_N.bincount(minlength=candidates).cpu().numpy()
        return counts_C

    def assign(self, centers_KD: Floats) -> tuple[Doubles, Ints, dict[int, float]]:
        """Give points their nearest center; returns sums and counts by center, costs by part."""
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
        found = [self._points(i, -nearest_N.cpu(), size) for i, nearest_N in self.nearest.items()]
        return Points.of_all(found, size)

    def labels(self) -> dict[int, Ints]:
        """Return the center of each row by part; -1 where a row is not finite."""
        found = {}
        for i, owner_N in self.owner.items():
            found[i] = np.full(self.sizes[i], -1, np.int64)
            found[i][self.rows[i]] = owner_N.cpu().numpy()
        return found


def sharded_kmeans(
    ask: Ask, k: int, *, seed: int, iterations: int = 20, tol: float = 1e-3
) -> Clusters:
    """Cluster the points of shards as `kmeans` does; labels are in the order of the parts.

    Seeds by rounds of draws, which a weighted k-means of the candidates reduces to k.

    Raises:
        DataError: there are no points.
        ConfigError: k < 1.

    Source: Bahmani et al. 2012, Scalable K-Means++ (k-means||, exactly k candidates a round).
    """
    if k < 1:
        raise ConfigError(f"k-means needs at least one cluster, asked for {k}")
    mean_D = _mean(ask)
    ask("begin", mean_D)
    centers_KD = _lloyd(ask, _seed_centers(ask, k, seed), mean_D, iterations, tol)
    _, counts_K, cost = _assigned(ask, centers_KD)
    present_K = counts_K > 0
    number_K = np.append(np.cumsum(present_K) - 1, -1)  # the last one for label -1
    by_part = {i: labels for found in ask("labels") for i, labels in found.items()}
    return Clusters(
        labels_N=number_K[np.concatenate([by_part[i] for i in sorted(by_part)])],
        centers_KD=centers_KD[present_K] + mean_D,
        inertia=cost,
        n_empty=k - int(present_K.sum()),
        backend="torch",
    )


def _mean(ask: Ask) -> Floats:
    counts, sums = zip(*ask("totals"), strict=True)
    if not sum(counts):
        raise DataError("k-means needs points, all shards are empty")
    mean_D: Floats = (np.sum(sums, axis=0) / sum(counts)).astype(np.float32)
    return mean_D


def _seed_centers(ask: Ask, k: int, seed: int) -> Floats:
    """Draw candidates in rounds, weigh each by its points, and reduce them to k."""
    candidates_CD = Points.of_all(ask("draw", seed, 0, 1), 1).points_ND
    ask("compare", candidates_CD, 0)
    for turn in range(1, _SEED_ROUNDS + 1):
        size = max(k, _FEWEST_DRAWS)
        new_CD = Points.of_all(ask("draw", seed, turn, size), size).points_ND
        if not len(new_CD):  # every point is a candidate
            break
        ask("compare", new_CD, len(candidates_CD))
        candidates_CD = np.concatenate([candidates_CD, new_CD])
    weight_C = np.sum(ask("owned", len(candidates_CD)), axis=0)
    found = kmeans(
        torch.from_numpy(candidates_CD),
        k,
        seed=seed,
        sample_weight_N=torch.from_numpy(weight_C).float(),
    )
    return found.centers_KD


def _lloyd(ask: Ask, centers_KD: Floats, mean_D: Floats, iterations: int, tol: float) -> Floats:
    """Move centers to the means of their points; an empty one to the farthest point of all."""
    previous = float("inf")
    for _ in range(iterations):
        sums_KD, counts_K, cost = _assigned(ask, centers_KD)
        means_KD = sums_KD / np.maximum(counts_K, 1)[:, None] - mean_D
        empty_K = np.flatnonzero(counts_K == 0)
        if len(empty_K):
            far = Points.of_all(ask("farthest", len(empty_K)), len(empty_K))
            means_KD[empty_K] = far.points_ND
        centers_KD = means_KD.astype(np.float32)
        if cost >= (1 - tol) * previous:
            break
        previous = cost
    return centers_KD


def _assigned(ask: Ask, centers_KD: Floats) -> tuple[Doubles, Ints, float]:
    """Add up what all shards found, costs in the order of the parts."""
    sums, counts, costs = zip(*ask("assign", centers_KD), strict=True)
    by_part = {i: cost for found in costs for i, cost in found.items()}
    cost = float(np.sum([by_part[i] for i in sorted(by_part)]))
    return np.sum(sums, axis=0), np.sum(counts, axis=0), cost
