"""k-means and density clustering for CPU and CUDA; uses cuML if it is installed and a GPU is there.

Suffixes: N samples, D embedding dimension, K clusters.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umc_ray.errors import ConfigError, DataError

Backend = Literal["cuml", "torch", "sklearn"]
Method = Literal["hdbscan", "dbscan"]

_BLOCK = 2**20  # floats per block: 4 MB
_SEED_ROUNDS = 32
_START_ROWS = 32  # rows per cluster in the sample that seeds a large problem
ROUNDING = 1e-6  # squared distances below this share of the squared norm are rounding errors


@dataclass(frozen=True)
class Clusters:
    """Labels and centers of the non-empty clusters.

    Labels are 0 to K-1; -1 is noise (density methods only). `inertia` is the weighted sum of
    squared distances to the own center, and `n_empty` is the requested number of clusters - K.
    """

    labels_N: npt.NDArray[np.int64]
    centers_KD: npt.NDArray[np.float32]
    inertia: float
    n_empty: int
    backend: Backend


def backend() -> Literal["cuml", "torch"]:
    """Return the library that k-means uses on this machine; cuML needs a GPU."""
    return "cuml" if torch.cuda.is_available() and find_spec("cuml") else "torch"


def kmeans(
    x_ND: Tensor,
    k: int,
    *,
    seed: int,
    sample_weight_N: Tensor | None = None,
    iterations: int = 20,
    tol: float = 1e-3,
) -> Clusters:
    """Cluster N points into at most k groups; fewer if fewer points are distinct.

    Stops when an iteration lowers the inertia by less than the share `tol`. The same seed gives
    the same clusters (on CUDA up to the order of sums). Keeps one centered copy of the points.

    Raises:
        DataError: there are no points, a value is not finite, or the weights do not fit.
        ConfigError: k < 1.

    Source: Lloyd 1982, Least squares quantization in PCM.
    """
    weight_N = _checked_weights(x_ND, k, sample_weight_N)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x_ND, weight_N = x_ND.to(device, torch.float32), weight_N.to(device, torch.float32)
    # Centered points have the smallest norms, so distances lose the fewest digits.
    mean_D = x_ND.mean(0)
    x_ND = x_ND - mean_D
    generator = torch.Generator().manual_seed(seed)
    centers_KD = _initial_centers(x_ND, weight_N, k, iterations, tol, generator)
    library = backend()
    lloyd = _cuml_lloyd if library == "cuml" else _lloyd
    centers_KD = lloyd(x_ND, weight_N, centers_KD, iterations, tol)
    labels_N, distance_N = assign(x_ND, centers_KD)
    present_K, labels_N = torch.unique(labels_N, return_inverse=True)
    return Clusters(
        labels_N=labels_N.cpu().numpy(),
        centers_KD=(centers_KD[present_K] + mean_D).cpu().numpy(),
        inertia=float((distance_N * weight_N).sum(dtype=torch.float64)),
        n_empty=k - len(present_K),
        backend=library,
    )


def _checked_weights(x_ND: Tensor, k: int, weight_N: Tensor | None) -> Tensor:
    """Check the arguments of `kmeans` and return the weights, which default to 1."""
    if k < 1:
        raise ConfigError(f"k-means needs at least one cluster, got k = {k}")
    if x_ND.ndim != 2 or not len(x_ND):
        raise DataError(f"k-means needs N x D points, got shape {tuple(x_ND.shape)}")
    if not bool(x_ND.sum().isfinite()):
        raise DataError(f"{int((~x_ND.isfinite()).any(1).sum())} points contain NaN or infinity")
    if weight_N is None:
        return torch.ones(len(x_ND))
    fits = weight_N.shape == (len(x_ND),)
    if not fits or not bool((weight_N >= 0).all()) or not float(weight_N.sum()) > 0:
        raise DataError(
            f"need {len(x_ND)} weights >= 0 that are not all 0, got shape {tuple(weight_N.shape)}"
        )
    return weight_N


def _initial_centers(
    x_ND: Tensor, weight_N: Tensor, k: int, iterations: int, tol: float, generator: torch.Generator
) -> Tensor:
    """Seed the centers; with many points per cluster, also run k-means on a sample."""
    n, n_start = len(x_ND), _START_ROWS * k
    if n <= 2 * n_start:
        return _seed_centers(x_ND, weight_N, k, generator)
    rows = torch.randperm(n, generator=generator)[:n_start].sort().values.to(x_ND.device)
    x_ND, weight_N = x_ND[rows], weight_N[rows]
    centers_KD = _seed_centers(x_ND, weight_N, k, generator)
    return _lloyd(x_ND, weight_N, centers_KD, iterations, tol)


def _seed_centers(x_ND: Tensor, weight_N: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw at most k distinct points with odds by the squared distance to earlier ones.

    Each round adds k / 32 points, each the best of 2 + log k draws, so seeding costs a few Lloyd
    iterations. Up to 32 clusters it equals greedy k-means++.

    Source: Arthur and Vassilvitskii 2007, k-means++ (greedy form); Bahmani et al. 2012,
    Scalable K-Means++ (many draws per round).
    """
    norm_N = squared_norms(x_ND)
    chosen = _random_order(weight_N, 1, generator)
    nearest_N = torch.full_like(norm_N, torch.inf)
    new = chosen
    while True:
        nearest_N = torch.minimum(nearest_N, assign(x_ND, x_ND[new])[1])
        nearest_N[nearest_N <= ROUNDING * norm_N] = 0
        size = min(k - len(chosen), -(-k // _SEED_ROUNDS))
        draws = _random_order(nearest_N * weight_N, size * (2 + int(math.log(k))), generator)
        if not len(draws):
            return x_ND[chosen]
        new = _best_of_groups(x_ND, weight_N, nearest_N, draws, size)
        chosen = torch.cat([chosen, new])


def _best_of_groups(
    x_ND: Tensor, weight_N: Tensor, nearest_N: Tensor, draws: Tensor, size: int
) -> Tensor:
    """Split the drawn rows into groups and keep the row of each that lowers the inertia most."""
    size = min(size, len(draws))
    draws = draws[: len(draws) // size * size]
    centers_TD = x_ND[draws]
    norm_T = squared_norms(centers_TD)
    cost_T = torch.zeros_like(norm_T)
    for rows in _blocks(len(x_ND), len(draws)):
        block_BD = x_ND[rows]
        distance_BT = torch.addmm(norm_T, block_BD, centers_TD.T, alpha=-2)
        distance_BT += squared_norms(block_BD)[:, None]
        cost_T += weight_N[rows] @ distance_BT.clamp_min_(0).minimum(nearest_N[rows, None])
    best = cost_T.view(-1, size).argmin(0) * size + torch.arange(size, device=cost_T.device)
    new = draws[best]
    # Skip a point that is close to an earlier one of this round: both may be in one cluster.
    close_BB = torch.cdist(x_ND[new], x_ND[new]).square() < nearest_N[new, None] / 2
    return new[~close_BB.tril(-1).any(1)]


def _random_order(mass_N: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw rows without replacement with odds `mass_N`; fewer if fewer have a positive mass.

    The random numbers come from the CPU generator, so that CPU and CUDA draw the same rows.
    """
    race_N = torch.empty(len(mass_N)).exponential_(generator=generator).to(mass_N.device) / mass_N
    race_N[mass_N <= 0] = torch.inf
    first = race_N.topk(min(size, len(race_N)), largest=False)
    return first.indices[first.values.isfinite()]


def _lloyd(
    x_ND: Tensor, weight_N: Tensor, centers_KD: Tensor, iterations: int, tol: float
) -> Tensor:
    """Alternate between assigning points and moving centers until the inertia converges."""
    previous = torch.inf
    for _ in range(iterations):
        labels_N, distance_N = assign(x_ND, centers_KD)
        cost = float((distance_N * weight_N).sum(dtype=torch.float64))
        centers_KD = _move_centers(x_ND, weight_N, labels_N, distance_N, centers_KD)
        if cost >= (1 - tol) * previous:
            break
        previous = cost
    return centers_KD


def assign(x_ND: Tensor, centers_KD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest center of each point and the squared distance; ties go to the first."""
    half_K = squared_norms(centers_KD) / 2
    labels_N = torch.empty(len(x_ND), dtype=torch.int64, device=x_ND.device)
    distance_N = x_ND.new_empty(len(x_ND))
    for rows in _blocks(len(x_ND), len(centers_KD)):
        closeness_BK = torch.addmm(half_K, x_ND[rows], centers_KD.T, beta=-1)
        torch.max(closeness_BK, dim=1, out=(distance_N[rows], labels_N[rows]))
    return labels_N, (squared_norms(x_ND) - 2 * distance_N).clamp_min_(0)


def _move_centers(
    x_ND: Tensor, weight_N: Tensor, labels_N: Tensor, distance_N: Tensor, centers_KD: Tensor
) -> Tensor:
    """Return weighted means of the clusters; an empty one moves to the farthest point."""
    mass_K = torch.zeros_like(centers_KD[:, 0]).index_add_(0, labels_N, weight_N)
    sums_KD = torch.zeros_like(centers_KD)
    for rows in _blocks(len(x_ND), x_ND.shape[1]):
        sums_KD.index_add_(0, labels_N[rows], x_ND[rows] * weight_N[rows, None])
    means_KD = sums_KD / mass_K[:, None]
    empty_K = torch.nonzero(mass_K == 0)[:, 0]
    if len(empty_K):
        by_cost = (distance_N * weight_N).sort(descending=True, stable=True).indices
        means_KD[empty_K] = x_ND[by_cost[: len(empty_K)]]
    return means_KD


def squared_norms(x_ND: Tensor) -> Tensor:
    """Return the squared length of each row."""
    norm_N: Tensor = torch.linalg.vector_norm(x_ND, dim=1)  # unlike square().sum(), needs no copy
    return norm_N.square_()


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _cuml_lloyd(
    x_ND: Tensor, weight_N: Tensor, centers_KD: Tensor, iterations: int, tol: float
) -> Tensor:
    from cuml.cluster import KMeans  # takes 10 s and 4 GB to import

    torch.cuda.current_stream().synchronize()  # cuML uses another stream
    model = KMeans(
        n_clusters=len(centers_KD),
        init=centers_KD,
        n_init=1,
        max_iter=iterations,
        tol=max(tol, 1e-30),
        output_type="cupy",
    )
    model.fit(x_ND, sample_weight=weight_N)
    return torch.as_tensor(model.cluster_centers_, device=x_ND.device, dtype=torch.float32)


def density_clusters(
    x_ND: Tensor,
    method: Method = "hdbscan",
    *,
    min_cluster_size: int = 15,
    min_samples: int = 10,
    eps: float | None = None,
) -> Clusters:
    """Cluster points by density; noise is -1. HDBSCAN uses `min_cluster_size`, DBSCAN uses `eps`.

    Raises:
        ConfigError: the method is unknown, or DBSCAN has no radius.

    Source: Ester et al. 1996 (DBSCAN); Campello et al. 2013 (HDBSCAN).
    """
    if method not in get_args(Method):
        raise ConfigError(f"unknown density method {method!r}; known: {get_args(Method)}")
    if method == "dbscan" and eps is None:
        raise ConfigError("dbscan needs eps, the radius of a neighborhood")
    library: Backend = "cuml" if backend() == "cuml" else "sklearn"
    x_ND = x_ND.to("cuda" if library == "cuml" else "cpu", torch.float32)
    cluster = _cuml_density if library == "cuml" else _sklearn_density
    labels_N = cluster(x_ND, method, min_cluster_size, min_samples, eps)
    points_ND, own_N = x_ND[labels_N >= 0], labels_N[labels_N >= 0]  # without noise
    sums_KD = x_ND.new_zeros(int(labels_N.max()) + 1, x_ND.shape[1]).index_add_(0, own_N, points_ND)
    centers_KD = sums_KD / own_N.bincount(minlength=len(sums_KD))[:, None]
    inertia = float((points_ND - centers_KD[own_N]).square().sum(dtype=torch.float64))
    return Clusters(labels_N.cpu().numpy(), centers_KD.cpu().numpy(), inertia, 0, library)


def _sklearn_density(
    x_ND: Tensor, method: Method, min_cluster_size: int, min_samples: int, eps: float | None
) -> Tensor:
    from sklearn.cluster import DBSCAN, HDBSCAN  # slow to import, rarely needed

    if method == "dbscan":
        model = DBSCAN(eps=eps, min_samples=min_samples)
    else:
        model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, copy=True)
    return torch.from_numpy(model.fit_predict(x_ND.numpy())).long()


def _cuml_density(
    x_ND: Tensor, method: Method, min_cluster_size: int, min_samples: int, eps: float | None
) -> Tensor:
    from cuml.cluster import DBSCAN, HDBSCAN  # as in _cuml_lloyd

    torch.cuda.current_stream().synchronize()
    if method == "dbscan":
        model = DBSCAN(eps=eps, min_samples=min_samples, output_type="cupy")
    else:
        sizes = {"min_cluster_size": min_cluster_size, "min_samples": min_samples}
        model = HDBSCAN(**sizes, output_type="cupy")
    return torch.as_tensor(model.fit_predict(x_ND), device=x_ND.device).long()
