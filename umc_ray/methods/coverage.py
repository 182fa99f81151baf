"""Pick a few points that represent many, in bounded memory.

Suffixes: N points, D dimension, B picks, L labeled points, R references, M other points, C classes.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

_KERNEL = 2**25  # maximum number of stored similarities: 128 MB
_MIN_REFERENCES = 500
_BLOCK = 1024
_DUPLICATE = 1e-4  # near-duplicates: squared distance up to this share of the variance
_STEP = 2048  # rows compared with the picks at once
_REFRESH = 64  # stale gains that are updated first for a pick


def squared_distances(a_ND: Floats, b_MD: Floats) -> Floats:
    """Return the N x M squared Euclidean distances."""
    squares_NM: Floats = a_ND @ b_MD.T
    squares_NM *= -2
    squares_NM += (a_ND**2).sum(1)[:, None]
    squares_NM += (b_MD**2).sum(1)
    return np.maximum(squares_NM, 0, out=squares_NM)


def spread(x_ND: Floats) -> float:
    """Return the mean squared distance of the points to their mean."""
    return float(x_ND.var(0).sum())


def max_coverage(
    x_ND: Floats, weights_N: Floats, batch: int, *, seed: int, labeled_LD: Floats
) -> Rows:
    """Greedily maximize the weighted similarity of all points to their nearest pick.

    The similarity is an RBF kernel; labeled points count as picks. The squared width of the kernel
    is the mean squared distance to the nearest labeled point, so it shrinks as labels come in;
    without labels it is the spread of the points. Beyond 5,800 points, a random sample of them is
    the reference for all.

    Source: Bae et al. 2024, Generalized Coverage for More Robust Low-Budget Active Learning.
    """
    n = len(x_ND)
    # Once all references are covered, every gain is about 0: have more references than picks.
    n_references = min(n, max(_MIN_REFERENCES, 2 * batch, _KERNEL // n))
    references = np.sort(np.random.default_rng(seed).permutation(n)[:n_references])
    ref_RD, weights_R = x_ND[references], weights_N[references]
    nearest_R = np.full(n_references, np.inf, np.float32)
    for start in range(0, len(labeled_LD), _BLOCK):
        block_LR = squared_distances(labeled_LD[start : start + _BLOCK], ref_RD)
        np.minimum(nearest_R, block_LR.min(0), out=nearest_R)
    width = max(float(nearest_R.mean()) if len(labeled_LD) else spread(x_ND), 1e-12)
    covered_R = np.exp(-nearest_R / width)
    kernel_NR = _similarities(x_ND, ref_RD, width)

    def gains(rows: Rows, picks: list[int]) -> Floats:
        if picks:
            np.maximum(covered_R, kernel_NR[picks[-1]], out=covered_R)
        gain_N: Floats = np.maximum(kernel_NR[rows] - covered_R, 0) @ weights_R
        return gain_N

    return lazy_greedy(gains, n, batch)


def _similarities(a_ND: Floats, b_MD: Floats, width: float) -> Floats:
    squares_NM = squared_distances(a_ND, b_MD)
    squares_NM /= -width
    return np.exp(squares_NM, out=squares_NM)


def lazy_greedy(gains: Callable[[Rows, list[int]], Floats], n: int, batch: int) -> Rows:
    """Pick the row with the largest gain, B times; a gain must never grow as rows are picked.

    `gains(rows, picks)` returns the gains of rows after the picks so far. A stale gain is an upper
    bound, so only the rows with the largest bounds are evaluated again: a few at first, then twice
    as many each time.

    Source: Minoux 1978, Accelerated greedy algorithms for maximizing submodular set functions.
    """
    blocks = np.array_split(np.arange(n), 1 + n // _BLOCK)
    bound_N = np.concatenate([gains(rows, []) for rows in blocks])
    picks: list[int] = []
    for _ in range(batch):
        fresh_N, size = np.full(n, not picks), _REFRESH
        while not fresh_N[best := int(bound_N.argmax())]:
            stale_N = np.where(fresh_N, -np.inf, bound_N)
            rows = np.argpartition(-stale_N, min(size, n - 1))[:size]
            rows, size = rows[stale_N[rows] > -np.inf], 2 * size
            bound_N[rows] = gains(rows, picks)
            fresh_N[rows] = True
        picks.append(best)
        bound_N[best] = -np.inf
    return np.array(picks, np.intp)


def k_center(x_ND: Floats, batch: int, *, labeled_LD: Floats) -> Rows:
    """Repeatedly pick the point farthest from all labeled and picked points.

    Without labels, the first pick is the point farthest from the mean.

    Source: Sener and Savarese 2018, Active Learning for Convolutional Neural Networks: A Core-Set
    Approach (greedy form).
    """
    norm_N = (x_ND**2).sum(1)
    nearest_N = np.full(len(x_ND), np.inf, np.float32)
    for center_D in labeled_LD if len(labeled_LD) else x_ND.mean(0, keepdims=True):
        np.minimum(nearest_N, norm_N + center_D @ center_D - 2 * (x_ND @ center_D), out=nearest_N)
    picks: list[int] = []
    for _ in range(batch):
        pick = int(nearest_N.argmax())
        picks.append(pick)
        np.minimum(nearest_N, norm_N + norm_N[pick] - 2 * (x_ND @ x_ND[pick]), out=nearest_N)
        nearest_N[picks] = -np.inf
    return np.array(picks, np.intp)


def typicality(x_ND: Floats, neighbors: int = 20) -> Floats:
    """Return the inverse mean distance to the nearest neighbors; a single point gets 0.

    Source: Hacohen et al. 2022, Active Learning on a Budget.
    """
    n = len(x_ND)
    neighbors = min(neighbors, n - 1)
    if neighbors < 1:
        return np.zeros(n, np.float32)
    mean_N = np.empty(n, np.float32)
    step = max(1, _KERNEL // n)
    for start in range(0, n, step):
        squares_BN = squared_distances(x_ND[start : start + step], x_ND)
        squares_BN.partition(neighbors, axis=1)  # the nearest one is the point itself
        nearest = np.sqrt(squares_BN[:, : neighbors + 1])
        mean_N[start : start + step] = nearest.sum(1) / neighbors
    return np.reciprocal(np.maximum(mean_N, 1e-12), dtype=np.float32)


def skip_near_duplicates(x_ND: Floats, order_N: Rows, batch: int) -> Rows:
    """Return the first B rows of the order that are not near-duplicates of earlier ones."""
    near = _DUPLICATE * spread(x_ND)
    picks = order_N[:0]
    step = min(batch, _STEP)
    for start in range(0, len(order_N), step):
        block = order_N[start : start + step]
        block = block[~(squared_distances(x_ND[block], x_ND[picks]) <= near).any(1)]
        repeats_BB = np.tril(squared_distances(x_ND[block], x_ND[block]) <= near, -1)
        picks = np.concatenate([picks, block[~repeats_BB.any(1)]])
        if len(picks) >= batch:
            break
    return picks[:batch]


def draw_diverse_gradients(x_ND: Floats, probs_NC: Floats, batch: int, *, seed: int) -> Rows:
    """Draw points with k-means++ on the gradients of a linear head for the predicted labels.

    A gradient is the outer product of (p - onehot) and the embedding. So the dot product of two
    gradients is the product of two small dot products, and no N x C x D array is needed. Returns
    fewer than B rows if only duplicates are left.
    """
    residual_NC = probs_NC.copy()
    residual_NC[np.arange(len(x_ND)), residual_NC.argmax(1)] -= 1
    norm_N = (x_ND**2).sum(1) * (residual_NC**2).sum(1)
    rng = np.random.default_rng(seed)
    nearest_N = np.full(len(x_ND), np.inf)
    picks = [int(norm_N.argmax())]
    while len(picks) < batch:
        last = picks[-1]
        dots_N = (x_ND @ x_ND[last]) * (residual_NC @ residual_NC[last])
        np.minimum(nearest_N, norm_N + norm_N[last] - 2 * dots_N, out=nearest_N)
        nearest_N[nearest_N <= 1e-6 * norm_N] = 0  # duplicates, up to rounding
        nearest_N[picks] = 0
        mass_N = nearest_N.cumsum()
        if mass_N[-1] <= 0:
            break
        picks.append(int(np.searchsorted(mass_N, rng.random() * mass_N[-1], side="right")))
    return np.array(picks, np.intp)
