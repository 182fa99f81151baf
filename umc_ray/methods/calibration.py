"""Make confidence mean what it says, and measure how far it does.

Suffixes: N samples, C classes, K bins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

_BOUNDS = (0.05, 20.0)
# Spread of log T a priori: worth a few samples, so ten labels can't ask for T = 20.
_PRIOR_SD = 1.0


def fit_temperature(logits_NC: Floats, labels_N: Ints, weights_N: Floats | None = None) -> float:
    """Fit the temperature T that the logits are to be divided by, 0.05 to 20.

    Minimises the weighted negative log-likelihood plus a weak normal prior on log T, which pulls
    T towards 1 when labels are few; without labels T is 1. Weights are counts of samples.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks (the prior is ours).
    """
    from scipy.optimize import minimize_scalar  # half a second that most processes are spared
    from scipy.special import log_softmax

    logits_NC = np.asarray(logits_NC, np.float64)
    _check_labels(logits_NC, labels_N)
    weights_N = np.ones(len(labels_N)) if weights_N is None else np.asarray(weights_N, np.float64)
    rows_N = np.arange(len(labels_N))

    def loss(log_t: float) -> float:
        log_probs_NC = log_softmax(logits_NC / np.exp(log_t), axis=1)
        nll = -float(weights_N @ log_probs_NC[rows_N, labels_N])
        return nll + 0.5 * (log_t / _PRIOR_SD) ** 2

    fit = minimize_scalar(loss, bounds=np.log(_BOUNDS), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(fit.x))


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in K bins of equal width; empty bins are left out."""

    confidence_K: list[float]
    accuracy_K: list[float]
    count_K: list[int]

    def error(self) -> float:
        """Return the expected calibration error, 0 to 1: the mean gap, weighted by count."""
        gaps_K = np.abs(np.subtract(self.accuracy_K, self.confidence_K))
        return float(np.average(gaps_K, weights=self.count_K)) if self.count_K else 0.0


def reliability_bins(confidence_N: Floats, bins: int = 15) -> npt.NDArray[np.int64]:
    """Return the bin of each confidence, open below and closed above: (0, 1/K], ..., (1-1/K, 1]."""
    return np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability(
    confidence_N: Floats, right_N: npt.NDArray[np.bool_], bins: int = 15
) -> Reliability:
    """Compare how sure a model was of its best class with how often it was right.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
    """
    bin_N = reliability_bins(confidence_N, bins)
    count_K = np.bincount(bin_N, minlength=bins)
    used = count_K > 0
    sums = [np.bincount(bin_N, values, minlength=bins) for values in (confidence_N, right_N)]
    confidence_K, accuracy_K = (total[used] / count_K[used] for total in sums)
    return Reliability(confidence_K.tolist(), accuracy_K.tolist(), count_K[used].tolist())


def expected_calibration_error(probs_NC: Floats, labels_N: Ints, bins: int = 15) -> float:
    """Average |accuracy - confidence| over equal-width bins of confidence, 0 to 1.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
    """
    _check_labels(probs_NC, labels_N)
    return reliability(probs_NC.max(1), probs_NC.argmax(1) == labels_N, bins).error()


def brier(probs_NC: Floats, labels_N: Ints) -> float:
    """Average squared distance between probabilities and the one-hot label, 0 to 2.

    Source: Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    _check_labels(probs_NC, labels_N)
    chosen_N = probs_NC[np.arange(len(labels_N)), labels_N]
    return float(np.mean((probs_NC**2).sum(1) - 2 * chosen_N + 1))


def _check_labels(rows_NC: Floats, labels_N: Ints) -> None:
    n, n_classes = rows_NC.shape
    if len(labels_N) != n:
        raise DataError(f"{n} rows of class values but {len(labels_N)} labels")
    if n and not (labels_N.min() >= 0 and labels_N.max() < n_classes):
        raise DataError(
            f"labels must be 0 to {n_classes - 1}, found {labels_N.min()} to {labels_N.max()}"
        )
