"""How many labels an accuracy takes, by the learning curve so far.

The curve is an inverse power law: after n labels the utility is a - b * n ** -c. Given c and the
size of the deviations, a and b are a linear regression; c and that size are averaged over a grid.
A curve that rises slowly may have its limit below the target or above it: then the labels have no
upper bound, and none is given.

Sources: Viering and Loog 2022, The Shape of Learning Curves: a Review (the power law); Figueroa et
al. 2012, Predicting sample size required for classification performance (its use for annotation);
Golub and Pereyra 1973 (a and b drop out, given c). The constants were chosen on the development
seeds of benchmarks/plan.py.

Suffixes: R points of a curve, G points of the grid, K draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MIN_POINTS = 5
DRAWS = 2000
MIN_DRAWS = DRAWS // 40  # that are rising curves with a limit of at most 1
CONFIDENCE = 0.9
EXPONENTS = np.linspace(0.1, 1.5, 15)
USUAL = (0.5, 0.3)  # mean and standard deviation of c
DEVIATIONS = np.geomspace(0.002, 0.08, 9)
# A curve leaves its law for several rounds in a row: deviations at n and m labels correlate by
# PERSISTENT * exp(-|log n - log m| / REACH).
PERSISTENT, REACH = 0.7, 1.5


@dataclass(frozen=True)
class Range:
    """The middle and the 90 % interval of an unknown number, which may be infinite."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class PowerLaws:
    """Power laws that a curve may follow: utility = limit - gap * (n / labels) ** -exponent."""

    labels: float  # of the last point
    limits_K: FloatArray
    gaps_K: FloatArray
    exponents_K: FloatArray

    def limit(self) -> Range:
        """Return the utility after any number of labels."""
        return _range(self.limits_K)

    def labels_for(self, target: float) -> Range:
        """Return the number of labels at which the utility reaches a target."""
        rest_K = self.limits_K - target
        can_K = rest_K > 0
        labels_K = np.full(len(rest_K), np.inf)
        with np.errstate(over="ignore"):
            factors_K = (self.gaps_K[can_K] / rest_K[can_K]) ** (1 / self.exponents_K[can_K])
        labels_K[can_K] = self.labels * factors_K
        return _range(labels_K)


def fit_power_laws(
    labels_R: Sequence[float], utility_R: Sequence[float], errors_R: Sequence[float]
) -> PowerLaws | None:
    """Draw the power laws that a curve may follow; None if there are too few points or none fits.

    Args:
        labels_R: the numbers of labels, which increase.
        utility_R: from 0 to 1.
        errors_R: standard errors of the utilities, of samples that grow from point to point. 0 if
            the same samples measure all points, and only they count.
    """
    if len(labels_R) < MIN_POINTS:
        return None
    n_R, y_R = np.asarray(labels_R, np.float64), np.asarray(utility_R, np.float64)
    # A few samples that are all right look surer than they are: earlier points are never surer.
    variances_R = np.maximum.accumulate(np.square(errors_R)[::-1])[::-1]
    nested_RR = np.minimum.outer(variances_R, variances_R)
    apart_RR = np.abs(np.subtract.outer(np.log(n_R), np.log(n_R)))
    shape_RR = PERSISTENT * np.exp(-apart_RR / REACH) + (1 - PERSISTENT) * np.eye(len(n_R))
    grid = [(c, s) for c in EXPONENTS for s in DEVIATIONS]
    fits = [_regress(n_R / n_R[-1], y_R, c, nested_RR + s**2 * shape_RR) for c, s in grid]
    logs_G = np.array([fit.log_weight for fit in fits])
    rng = np.random.default_rng(0)
    weights_G = np.exp(logs_G - logs_G.max())
    chosen_K = rng.choice(len(grid), DRAWS, p=weights_G / weights_G.sum())
    noise_K2 = rng.standard_normal((DRAWS, 2))
    roots_G22 = np.stack([fit.root_22 for fit in fits])
    drawn_K2 = np.stack([fit.mean_2 for fit in fits])[chosen_K]
    drawn_K2 = drawn_K2 + np.einsum("kij,kj->ki", roots_G22[chosen_K], noise_K2)
    fits_K = (drawn_K2[:, 0] <= 1) & (drawn_K2[:, 1] > 0)
    if fits_K.sum() < MIN_DRAWS:
        return None
    exponents_K = np.array([c for c, _ in grid])[chosen_K]
    return PowerLaws(float(n_R[-1]), drawn_K2[fits_K, 0], drawn_K2[fits_K, 1], exponents_K[fits_K])


@dataclass(frozen=True)
class _Fit:
    """The regression for one point of the grid: a and b are normal, and how likely it is."""

    log_weight: float
    mean_2: FloatArray
    root_22: FloatArray  # of the covariance


def _regress(x_R: FloatArray, y_R: FloatArray, c: float, covariance_RR: FloatArray) -> _Fit:
    """Fit a and b by generalized least squares, with flat priors."""
    design_R2 = np.stack([np.ones(len(x_R)), -(x_R**-c)], axis=1)
    root_RR = np.linalg.cholesky(covariance_RR)
    q_R2, r_22 = np.linalg.qr(np.linalg.solve(root_RR, design_R2))
    y_R = np.linalg.solve(root_RR, y_R)
    residuals_R = y_R - q_R2 @ (q_R2.T @ y_R)
    volume = np.log(np.diag(root_RR)).sum() + np.log(np.abs(np.diag(r_22))).sum()
    prior = ((c - USUAL[0]) / USUAL[1]) ** 2 / 2
    log_weight = -float(residuals_R @ residuals_R) / 2 - volume - prior
    return _Fit(log_weight, np.linalg.solve(r_22, q_R2.T @ y_R), np.linalg.inv(r_22))


def _range(values_K: FloatArray) -> Range:
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(values_K, (tail, 0.5, 1 - tail), method="inverted_cdf")
    return Range(float(low), float(middle), float(high))
