"""Several labels per sample: thresholds, calibration and figures of independent binary labels.

Suffixes: N samples, C labels, S specialists.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch
from umc_ray.methods.intervals import bootstrap_interval

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

_TINY = float(np.finfo(np.float32).tiny)  # keeps log finite where a probability is zero
_PRIOR_SD = 1.0  # of log scale and of shift: worth a few samples
_DEFAULT = 0.5  # threshold of a label without enough positives to fit one
_MIN_POSITIVES = 5
_SHRINK = 10.0  # positives that pull a threshold half of the way to the default


def fit_scale_and_shift(
    logits_NC: Floats, targets_NC: Floats, weights_N: Floats
) -> tuple[list[float], list[float]]:
    """Fit, label by label, the scale a > 0 and shift b of calibrated logits a z + b.

    Minimizes the weighted log-loss plus a normal prior on log a and b, which keeps labels with few
    positives near the identity.

    Source: Platt 1999, Probabilistic outputs for support vector machines (the prior is ours).
    """
    from scipy.optimize import minimize  # half a second that most processes are spared

    scales, shifts = [], []
    weights_N = np.asarray(weights_N, np.float64)
    for z_N, y_N in zip(
        np.asarray(logits_NC, np.float64).T, np.asarray(targets_NC, np.float64).T, strict=True
    ):

        def loss(parameters: Floats, z_N: Floats = z_N, y_N: Floats = y_N) -> tuple[float, Floats]:
            log_a, b = parameters
            scaled_N = np.exp(log_a) * z_N
            logits_N = scaled_N + b
            nll_N = np.logaddexp(0, logits_N) - y_N * logits_N
            prior = (log_a**2 + b**2) / (2 * _PRIOR_SD**2)
            error_N = weights_N * (1 / (1 + np.exp(-logits_N)) - y_N)
            slope = np.array([error_N @ scaled_N, error_N.sum()]) + parameters / _PRIOR_SD**2
            return float(weights_N @ nll_N + prior), slope

        found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-3, 3), (-5, 5)])
        scales.append(float(np.exp(found.x[0])))
        shifts.append(float(found.x[1]))
    return scales, shifts


def odds_pooling(probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function from weights S to the sigmoid of the weighted log-odds, shape NC."""
    odds_SNC = probs_SNC.logit(torch.finfo(torch.float32).eps)
    return lambda weights_S: torch.einsum("s,snc->nc", weights_S.to(odds_SNC), odds_SNC).sigmoid()


def f1_thresholds(probs_NC: Floats, targets_NC: Floats, weights_N: Floats) -> list[float]:
    """Return for each label the threshold of highest F1, drawn to 0.5 where positives are few.

    Source: Lipton et al. 2014, Optimal Thresholding of Classifiers to Maximize F1 Measure.
    """
    return [
        _f1_threshold(p_N, y_N, weights_N)
        for p_N, y_N in zip(probs_NC.T, targets_NC.T, strict=True)
    ]


def _f1_threshold(p_N: Floats, y_N: Floats, weights_N: Floats) -> float:
    positives = int(y_N.sum())
    if positives < _MIN_POSITIVES:
        return _DEFAULT
    order = np.argsort(-p_N, kind="stable")
    p_N, y_N, w_N = p_N[order], y_N[order], np.asarray(weights_N, np.float64)[order]
    hits_N, taken_N = np.cumsum(w_N * y_N), np.cumsum(w_N)
    f1_N = 2 * hits_N / (taken_N + hits_N[-1])
    f1_N[:-1][p_N[:-1] == p_N[1:]] = -1  # ties are taken together
    best = int(f1_N.argmax())
    below = p_N[best + 1] if best + 1 < len(p_N) else p_N[best]
    threshold = (p_N[best] + below) / 2
    share = positives / (positives + _SHRINK)
    return float(np.clip(share * threshold + (1 - share) * _DEFAULT, 0.02, 0.98))


def jaccard(predicted_NC: Bools, targets_NC: Bools) -> npt.NDArray[np.float32]:
    """Return the size of the intersection over that of the union; 1 for two empty sets.

    Leading axes of `predicted_NC` are broadcast.
    """
    both = (predicted_NC & targets_NC).sum(-1)
    either = (predicted_NC | targets_NC).sum(-1)
    shares: npt.NDArray[np.float32] = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    return shares.astype(np.float32)


def micro_f1(predicted_NC: Bools, targets_NC: Bools) -> float:
    """Return F1 over all pairs of sample and label; 0 where nothing is positive."""
    hits = float((predicted_NC & targets_NC).sum())
    total = float(predicted_NC.sum() + targets_NC.sum())
    return 2 * hits / total if total else 0.0


def macro_f1(predicted_NC: Bools, targets_NC: Bools) -> float:
    """Return the mean F1 of the labels; a label without a positive counts as 0."""
    hits_C = (predicted_NC & targets_NC).sum(0)
    total_C = predicted_NC.sum(0) + targets_NC.sum(0)
    return float(np.where(total_C == 0, 0.0, 2 * hits_C / np.maximum(total_C, 1)).mean())


def figures(predicted_NC: Bools, targets_NC: Bools) -> dict[str, tuple[float, float, float]]:
    """Return micro F1, macro F1 and exact match, each with its 95 % interval."""

    def of(statistic: str, rows: npt.NDArray[np.int64]) -> float:
        predicted, targets = predicted_NC[rows], targets_NC[rows]
        if statistic == "micro F1":
            return micro_f1(predicted, targets)
        if statistic == "macro F1":
            return macro_f1(predicted, targets)
        return float((predicted == targets).all(1).mean())

    n = len(targets_NC)
    names = ("micro F1", "macro F1", "exact match")
    return {name: bootstrap_interval(n, partial(of, name)) for name in names}


def binary_entropy(probs: Tensor) -> Tensor:
    """Return the entropy in bits of each binary label."""
    other = 1 - probs
    return -(probs.clamp_min(_TINY).log2() * probs + other.clamp_min(_TINY).log2() * other)


def binary_disagreement(probs_SNC: Tensor, entropy_SNC: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence, mean over pairs of specialists and labels, 0 to 1."""
    n_specialists = len(probs_SNC)
    total_N = torch.zeros(probs_SNC.shape[1])
    for i in range(n_specialists - 1):
        mixed = binary_entropy((probs_SNC[i + 1 :] + probs_SNC[i]) / 2)
        total_N += (mixed - (entropy_SNC[i + 1 :] + entropy_SNC[i]) / 2).mean(2).sum(0)
    pairs = max(n_specialists * (n_specialists - 1) / 2, 1)
    return (total_N / pairs).clamp(0, 1)
