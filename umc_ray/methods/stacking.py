"""How much each member of an ensemble counts, by what held-out predictions say.

The ensemble's probabilities are a weighted product of its members': members that err less count
more, and the sum of the weights makes the ensemble as sure as it should be.

Suffixes: S specialists, N samples, C outputs.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch

Floats = npt.NDArray[np.float64]

STRENGTH = 10.0
"""Samples that equal weights count as: few held-out predictions cannot overrule them."""

GROUP_SPREAD = 0.2
"""How far groups of samples differ a priori in how sure an ensemble should be: standard deviation
of the logarithm. Few samples of a group say little beside it."""

LEAST_WEIGHT = 0.02
"""Of all weights together: a member with less changes hardly a prediction, and gets 0."""

LEAST_OF_EQUAL = 0.5
"""Where an equal weight is not much more than that, as among fifty: the least share of it."""

Pooling = Callable[[Tensor], Callable[[Tensor], Tensor]]
"""From probabilities SNC to a function from weights S to the ensemble's NC."""

LogLoss = Callable[[Tensor, Tensor], Tensor]
"""From probabilities NC and targets, N first, to losses N."""


def stack(probs_SNC: Tensor, targets: Tensor, pooling: Pooling, log_loss: LogLoss) -> list[float]:
    """Return weights of specialists, 0 or more with sum 1, for the least log-loss.

    Args:
        probs_SNC: calibrated probabilities of samples that the specialists did not see.
        targets: of the samples, as `log_loss` takes them.
        pooling: makes the ensemble's probabilities, and passes gradients.
        log_loss: of the ensemble.

    Source: Yao et al. 2018, Using Stacking to Average Bayesian Predictive Distributions; log-linear
    pooling and the pull towards equal weights are ours.
    """
    n, combine = len(probs_SNC), pooling(probs_SNC.double())

    def loss(relative_S: Tensor) -> Tensor:
        # The sum of the weights is free here; `sharpen` decides it.
        prior = 0.5 * STRENGTH * ((relative_S - 1) ** 2).mean()
        return log_loss(combine(relative_S / n), targets).sum() + prior

    weights_S = minimized(loss, np.ones(n), least=0.0)
    least = min(LEAST_WEIGHT, LEAST_OF_EQUAL / n)
    weights_S = np.where(weights_S < least * weights_S.sum(), 0, weights_S)
    found: list[float] = (weights_S / weights_S.sum()).tolist()
    return found


def sharpen(
    probs_SNC: Tensor,
    targets: Tensor,
    weights_S: list[float],
    importance_N: Tensor,
    pooling: Pooling,
    log_loss: LogLoss,
) -> list[float]:
    """Scale the weights of specialists so that the ensemble is as sure as it should be.

    `importance_N` is what each sample counts for. A weak prior keeps the sum near 1.
    """
    scale = _scale(probs_SNC, targets, weights_S, importance_N, 1.0, pooling, log_loss)
    return [weight * scale for weight in weights_S]


def sharpen_groups(
    probs_SNC: Tensor,
    targets: Tensor,
    weights_S: Sequence[float],
    groups_N: npt.NDArray[np.str_],
    pooling: Pooling,
    log_loss: LogLoss,
) -> dict[str, float]:
    """Return by group how much surer an ensemble should be than over all samples; 1: as sure.

    All samples count alike. If they are harder than others, as selected ones are, that is so in all
    groups: it cancels.
    """
    ones_N = torch.ones(len(groups_N))
    overall = _scale(probs_SNC, targets, weights_S, ones_N, 1.0, pooling, log_loss)
    scaled_S = [weight * overall for weight in weights_S]
    found = {}
    for group in np.unique(groups_N).tolist():
        rows = torch.from_numpy(np.flatnonzero(groups_N == group))
        own = (probs_SNC[:, rows], targets[rows], scaled_S, ones_N[rows])
        found[group] = _scale(*own, GROUP_SPREAD, pooling, log_loss)
    return found


def _scale(
    probs_SNC: Tensor,
    targets: Tensor,
    weights_S: Sequence[float],
    importance_N: Tensor,
    spread: float,
    pooling: Pooling,
    log_loss: LogLoss,
) -> float:
    """Return what to multiply the weights by; its logarithm has a normal prior around 0."""
    weights, combine = torch.tensor(weights_S, dtype=torch.float64), pooling(probs_SNC.double())

    def loss(log_scale: Tensor) -> Tensor:
        mean_NC = combine(weights * log_scale.exp())
        prior = 0.5 * ((log_scale / spread) ** 2).sum()
        return log_loss(mean_NC, targets).double() @ importance_N.double() + prior

    return float(np.exp(minimized(loss, np.zeros(1))[0]))


def minimized(
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
