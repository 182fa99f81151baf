"""How much each member of an ensemble counts, by what held-out predictions say.

The ensemble's probabilities are a weighted product of its members': members that err less count
more, and the sum of the weights makes the ensemble as sure as it should be.

Suffixes: S specialists, N samples, C outputs.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]

STRENGTH = 10.0
"""Samples that equal weights count as: few held-out predictions cannot overrule them."""

LEAST_WEIGHT = 0.02
"""Of all weights together: a member with less changes hardly a prediction, and gets 0."""

Combine = Callable[[Tensor, Tensor], Tensor]
"""From probabilities SNC and weights S to the ensemble's NC."""

LogLoss = Callable[[Tensor, Tensor], Tensor]
"""From probabilities NC and targets, N first, to losses N."""


def stack(probs_SNC: Tensor, targets: Tensor, combine: Combine, log_loss: LogLoss) -> list[float]:
    """Return weights of specialists, 0 or more with sum 1, for the least log-loss.

    Args:
        probs_SNC: calibrated probabilities of samples that the specialists did not see.
        targets: of the samples, as `log_loss` takes them.
        combine: makes the ensemble's probabilities, and passes gradients.
        log_loss: of the ensemble.

    Source: Yao et al. 2018, Using Stacking to Average Bayesian Predictive Distributions; log-linear
    pooling and the pull towards equal weights are ours.
    """
    n = len(probs_SNC)

    def loss(relative_S: Tensor) -> Tensor:
        # The sum of the weights is free here; `sharpen` decides it.
        prior = 0.5 * STRENGTH * ((relative_S - 1) ** 2).mean()
        return log_loss(combine(probs_SNC.double(), relative_S / n), targets).sum() + prior

    weights_S = _minimized(loss, np.ones(n), least=0.0)
    weights_S = np.where(weights_S < LEAST_WEIGHT * weights_S.sum(), 0, weights_S)
    found: list[float] = (weights_S / weights_S.sum()).tolist()
    return found


def sharpen(
    probs_SNC: Tensor,
    targets: Tensor,
    weights_S: list[float],
    importance_N: Tensor,
    combine: Combine,
    log_loss: LogLoss,
) -> list[float]:
    """Scale the weights of specialists so that the ensemble is as sure as it should be.

    `importance_N` is what each sample counts for. A weak prior keeps the sum near 1.
    """
    weights = torch.tensor(weights_S, dtype=torch.float64)

    def loss(log_scale: Tensor) -> Tensor:
        mean_NC = combine(probs_SNC.double(), weights * log_scale.exp())
        prior = 0.5 * (log_scale**2).sum()
        return log_loss(mean_NC, targets).double() @ importance_N.double() + prior

    scale = np.exp(_minimized(loss, np.zeros(1)))
    return [float(weight * scale[0]) for weight in weights_S]


def _minimized(
    loss: Callable[[Tensor], Tensor], first: Floats, least: float | None = None
) -> Floats:
    """Return where a smooth function of a few numbers, each at least so much, is least."""
    from scipy.optimize import minimize  # half a second that most processes are spared

    def value_and_slope(x: Floats) -> tuple[float, Floats]:
        values = torch.from_numpy(x.copy()).requires_grad_()
        total = loss(values)
        (slope,) = torch.autograd.grad(total, [values])
        return float(total.detach()), slope.numpy()

    bounds = [(least, None)] * len(first)
    found: Floats = minimize(value_and_slope, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found
