"""Predicting a number: Gaussian members of an ensemble, calibration, figures, consensus.

Numbers lie on a scale from -1/2 to 1/2: 1 is the whole range of a task. What an ensemble says of a
sample are two moments, E[y] and E[y^2]: unlike means and variances, they mix by a plain mean.

Suffixes: S specialists, N samples, B bootstrap replicates, V votes; 2 is for the two moments.
"""

import math

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch
from umc_ray.methods.intervals import REPLICATES, TAILS

Floats = npt.NDArray[np.floating]
Interval = tuple[float, float, float]
"""A figure with its 95 % interval."""

RESOLUTION = 0.01
"""Of the range: log-losses are those of the hundredth of it that holds the answer."""

LEAST_VARIANCE = RESOLUTION**2 / (2 * math.pi)
"""No prediction is surer: the probability of a hundredth of the range is at most 1."""

MOST_VARIANCE = 1.0

START_VARIANCE = 1 / 16
"""Where the outputs of a model are zero."""

FITTED_VARIANCE = 0.01
"""The least that a model is fitted with, a tenth of the range off: where it may be surer, what it
learns outweighs its penalty, and few samples are learned by heart. Of 70 samples in 64 dimensions,
a linear head correlates with new ones by 0.67, without it by 0.44. Calibration finds the least."""


CELLS = 1000
"""More samples are resampled in as many random cells: the intervals are the same, nearly."""


def moments(mean: Tensor, variance: Tensor) -> Tensor:
    """Return E[y] and E[y^2], in a last dimension."""
    return torch.stack([mean, variance + mean**2], dim=-1)


def mean_and_variance(moments_2: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance, which is not below the least one."""
    mean = moments_2[..., 0]
    return mean, (moments_2[..., 1] - mean**2).clamp_min(LEAST_VARIANCE)


def of_outputs(outputs_2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance that a model's outputs stand for.

    The second output is a log-variance, so that a model can say any.
    """
    return outputs_2[..., 0] / 2, FITTED_VARIANCE + START_VARIANCE * outputs_2[..., 1].exp()


def to_outputs(mean: Floats, variance: Floats) -> npt.NDArray[np.float32]:
    """Return the outputs that stand for a mean, and a variance above the least fitted one."""
    above = np.maximum(variance - FITTED_VARIANCE, LEAST_VARIANCE)
    outputs_2 = np.stack([2 * mean, np.log(above / START_VARIANCE)], axis=-1)
    return outputs_2.astype(np.float32)


def gaussian_loss(mean: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    """Return minus the logarithm of the density, per hundredth of the range; 0 or more.

    Source: Nix and Weigend 1994, Estimating the Mean and Variance of the Target Distribution.
    """
    return 0.5 * ((target - mean) ** 2 / variance + (variance / LEAST_VARIANCE).log())


def gaussian_product(moments_SN2: Tensor, weights_S: Tensor) -> Tensor:
    """Combine Gaussians log-linearly, moments N2: each density to its weight's power.

    Source: Genest and Zidek 1986, Combining Probability Distributions (logarithmic pools).
    """
    mean_SN, variance_SN = mean_and_variance(moments_SN2)
    precision_SN = weights_S.to(mean_SN)[:, None] / variance_SN
    precision_N = precision_SN.sum(0).clamp_min(1 / MOST_VARIANCE)
    mean_N = (precision_SN * mean_SN).sum(0) / precision_SN.sum(0).clamp_min(1e-12)
    return moments(mean_N, (1 / precision_N).clamp_min(LEAST_VARIANCE))


def fit_variances(
    mean_N: Floats, variance_N: Floats, targets_N: Floats, weights_N: Floats
) -> tuple[float, float]:
    """Return a scale and a least variance, for `calibrated`, by the greatest likelihood.

    A normal prior on the logarithms keeps them at 1 and FITTED_VARIANCE without samples.

    Source: Laves et al. 2020, Well-Calibrated Regression Uncertainty (sigma scaling); the least
    variance and the prior are ours.
    """
    from scipy.optimize import minimize  # half a second that most processes are spared

    squares_N = (targets_N - mean_N) ** 2
    above_N = np.maximum(variance_N - FITTED_VARIANCE, 0)

    def loss(logs_2: Floats) -> float:
        scale, least = np.exp(logs_2)
        found_N = scale * above_N + least * FITTED_VARIANCE
        losses_N = 0.5 * (squares_N / found_N + np.log(found_N / FITTED_VARIANCE))
        return float(weights_N @ losses_N + 0.5 * logs_2 @ logs_2)

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-8, 8)] * 2)
    scale, least = np.exp(found.x)
    return float(scale), float(least * FITTED_VARIANCE)


def calibrated(variance: Tensor, scale: Tensor, least: Tensor) -> Tensor:
    """Return fitted variances, of which what is above the least fitted one is scaled."""
    above = (variance - FITTED_VARIANCE).clamp_min(0)
    return (scale * above + least).clamp(LEAST_VARIANCE, MOST_VARIANCE)


def within(variance_N: Tensor, tolerance: float) -> Tensor:
    """Return the probability that a number is no farther than a tolerance from its mean."""
    return torch.erf(tolerance / (2 * variance_N).sqrt())


def bits(variance: Tensor) -> Tensor:
    """Return the entropy of a Gaussian above that of the surest one, in bits."""
    return 0.5 * (variance / LEAST_VARIANCE).log2()


def correlations(predicted_N: Floats, targets_N: Floats) -> dict[str, Interval]:
    """Return Pearson's and Spearman's correlation with bootstrap intervals.

    0 where one of the two is constant, so that there is none. Replicates of Spearman's draw from
    the ranks of all samples.
    """
    from scipy.stats import rankdata  # half a second that most processes are spared

    ranks = (rankdata(predicted_N), rankdata(targets_N))
    pairs = {"Pearson": (predicted_N, targets_N), "Spearman": ranks}
    return {name: _correlation(*pair) for name, pair in pairs.items()}


def errors(predicted_N: Floats, targets_N: Floats) -> dict[str, Interval]:
    """Return the root of the mean squared error, and the mean absolute one, with intervals."""
    apart_N = np.abs(predicted_N - targets_N)
    means_B2 = _resampled(np.stack([apart_N**2, apart_N], axis=1))
    means_B2[:, 0] **= 0.5
    values = (float(np.sqrt(np.mean(apart_N**2))), float(apart_N.mean()))
    return {
        name: _interval(value, means_B2[:, i])
        for i, (name, value) in enumerate(zip(("RMSE", "MAE"), values, strict=True))
    }


def _correlation(x_N: Floats, y_N: Floats) -> Interval:
    x_N, y_N = (each_N.astype(np.float64) - each_N.mean() for each_N in (x_N, y_N))
    products_N5 = np.stack([x_N, y_N, x_N * y_N, x_N**2, y_N**2], axis=1)
    value = float(_of_means(products_N5.mean(0)[None])[0])
    return _interval(value, _of_means(_resampled(products_N5)))


def _of_means(means_B5: Floats) -> npt.NDArray[np.float64]:
    """Return correlations from the means of x, y, xy, x^2 and y^2."""
    x_B, y_B, xy_B, xx_B, yy_B = means_B5.T
    spread_B = np.maximum(xx_B - x_B**2, 0) * np.maximum(yy_B - y_B**2, 0)
    is_there_B = spread_B > 0
    found_B: npt.NDArray[np.float64] = (xy_B - x_B * y_B) / np.sqrt(
        np.where(is_there_B, spread_B, 1)
    )
    return np.where(is_there_B, found_B, 0.0).clip(-1, 1)


def _resampled(values_NX: Floats) -> npt.NDArray[np.float64]:
    """Return the means of bootstrap samples, shape BX; the same values give the same means."""
    n, rng = len(values_NX), np.random.default_rng(0)
    k = min(n, CELLS)
    order_N = rng.permutation(n) if n > k else np.arange(n)
    first_K = np.arange(k) * n // k
    sums_KX = np.add.reduceat(values_NX[order_N], first_K, dtype=np.float64)
    sizes_K = np.diff(np.append(first_K, n))
    counts_BK = rng.multinomial(k, np.full(k, 1 / k), size=REPLICATES).astype(np.float64)
    means_BX: npt.NDArray[np.float64] = counts_BK @ sums_KX / (counts_BK @ sizes_K)[:, None]
    return means_BX


def _interval(value: float, found_B: Floats) -> Interval:
    low, high = np.quantile(found_B, TAILS)
    return value, float(min(low, value)), float(max(high, value))


def trimmed_mean(votes_V: Floats) -> float:
    """Return the mean of the middle third of some votes, or of one or two that there are.

    One vote of three, or two of six, cannot move it far. It is a vote where those agree.

    Source: Tukey and McLaughlin 1963, Less Vulnerable Confidence and Significance Procedures.
    """
    ordered_V = np.sort(votes_V)
    cut = (len(ordered_V) if len(ordered_V) > 2 else 0) // 3
    middle_V = ordered_V[cut : len(ordered_V) - cut]
    return float(np.clip(middle_V.mean(), middle_V[0], middle_V[-1]))
