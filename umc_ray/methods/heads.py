"""Heads over embeddings: linear or with a hidden layer, and how they are fitted.

Many heads are fitted as one: the folds of a cross-validation and the strengths of the penalty are
a leading axis M of every parameter, so that a whole grid costs a few matrix products instead of
a hundred small fits. With many outputs the products are large anyway, and each head is fitted by
itself, from one that is almost right.

Suffixes: M heads fitted together, N samples, D embedding dimension, H hidden units, C classes,
X outputs of a layer, P penalties. C is the number of outputs, whatever they mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from umc_ray.methods.group import all_sum, place
from umc_ray.methods.threads import one_thread

Parameters = dict[str, Tensor]
"""linear: weight MDC, bias MC; mlp: also hidden_weight MDH, hidden_bias MH, and weight is MHC."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs MNC and targets, N first, to losses MN."""

Kind = Literal["linear", "mlp"]

PENALTIES = (3.0, 30.0, 300.0)
"""Strengths of the L2 penalty to choose from, in samples: on standardized embeddings."""

MAX_ITERATIONS = 60
"""Of L-BFGS: more, or smaller tolerances, cost four times as much and change no prediction."""


LARGE = 2**18
"""Outputs of all samples from which heads are fitted one by one; benchmarks/many_classes.py."""

FEW_ITERATIONS = 8
"""Of those that only choose the penalty, then: more change the held-out loss by a hundredth."""


@dataclass(frozen=True)
class Fit:
    """A trained head and what its cross-validation said.

    `parameters` take raw embeddings: the standardization is folded into them. `held_out_NC` are
    the logits of every training sample by a head that did not see it.
    """

    parameters: Parameters
    held_out_NC: npt.NDArray[np.float32]
    penalty: float
    loss: float


def forward(parameters: Parameters, x_ND: Tensor) -> Tensor:
    """Compute logits, shape MNC."""
    weight, bias = parameters["weight"], parameters["bias"]
    if "hidden_weight" not in parameters:
        return _affine(x_ND, weight, bias)
    hidden_MNH = _affine(x_ND, parameters["hidden_weight"], parameters["hidden_bias"])
    return torch.baddbmm(bias[:, None, :], torch.relu(hidden_MNH), weight)


def _affine(x_ND: Tensor, weight_MDX: Tensor, bias_MX: Tensor) -> Tensor:
    """Multiply the same samples with every head's weights in one matrix product, shape MNX.

    It lies in memory as MXN, samples last: what is then reduced over classes, in the loss and in
    scoring, runs over whole vectors.
    """
    m, d, x = weight_MDX.shape
    weight_XD = weight_MDX.transpose(1, 2).reshape(m * x, d)
    flat_XN = torch.addmm(bias_MX.reshape(m * x, 1), weight_XD, x_ND.T)
    return flat_XN.view(m, x, len(x_ND)).transpose(1, 2)


def start(kind: Kind, n: int, d: int, outputs: int, hidden: int, seed: int) -> Parameters:
    """Draw the first parameters of n equal heads; a linear head starts at zero."""
    if kind == "linear":
        return {"weight": torch.zeros(n, d, outputs), "bias": torch.zeros(n, outputs)}
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(1, d, hidden, generator=generator) * (2.0 / d) ** 0.5
    outer = torch.randn(1, hidden, outputs, generator=generator) * (1.0 / hidden) ** 0.5
    return {
        "hidden_weight": inner.repeat(n, 1, 1),
        "hidden_bias": torch.zeros(n, hidden),
        "weight": outer.repeat(n, 1, 1),
        "bias": torch.zeros(n, outputs),
    }


def fit(
    embeddings_ND: npt.NDArray[np.float32],
    targets: npt.NDArray[np.generic],
    weights_N: npt.NDArray[np.float32],
    folds_N: npt.NDArray[np.int64],
    first: Parameters,
    loss: Loss,
    device: str = "cpu",
    training_weights_N: npt.NDArray[np.float32] | None = None,
) -> Fit:
    """Train a head, its penalty chosen by cross-validated loss.

    Args:
        embeddings_ND: raw embeddings; in a process group, this process's share of them.
        targets: as `loss` takes them, N first.
        weights_N: importance of each sample, > 0.
        folds_N: fold of each sample, from 0; the same sample has the same fold in every head of
            an ensemble, so that held-out predictions of an ensemble can be averaged.
        first: starting parameters of one head (M = 1), for raw embeddings.
        loss: of outputs against targets.
        device: where to compute.
        training_weights_N: importance in training, where the held-out loss has another; default:
            the same.
    """
    x_ND = torch.from_numpy(embeddings_ND).to(device)
    y = torch.from_numpy(targets).to(device)
    w_N = torch.from_numpy(weights_N).to(device)
    t_N = w_N if training_weights_N is None else torch.from_numpy(training_weights_N).to(device)
    f_N = torch.from_numpy(folds_N).to(device)
    mean_D, scale_D = _moments(x_ND)
    x_ND = (x_ND - mean_D) / scale_D
    first = _standardized({k: v.to(device) for k, v in first.items()}, mean_D, scale_D)

    size = int(all_sum(torch.tensor(len(x_ND), device=device))) * first["bias"].shape[-1]
    cross_validate = _one_by_one if size >= LARGE else _side_by_side
    held_out_PNC, first_P = cross_validate(first, x_ND, y, t_N, f_N, loss)
    losses_P = loss(held_out_PNC, y) @ w_N
    losses_P, total = all_sum(losses_P), all_sum(w_N.sum())
    best = int(losses_P.argmin())

    full = _minimize(first_P[best], x_ND, y, t_N[None, :], w_N.new_tensor([PENALTIES[best]]), loss)
    return Fit(
        parameters={k: v.cpu() for k, v in _raw(full, mean_D, scale_D).items()},
        held_out_NC=held_out_PNC[best].cpu().numpy(),
        penalty=PENALTIES[best],
        loss=float(losses_P[best] / total),
    )


def _side_by_side(
    first: Parameters, x_ND: Tensor, y: Tensor, weights_N: Tensor, folds_N: Tensor, loss: Loss
) -> tuple[Tensor, list[Parameters]]:
    """Fit a head without each fold under each penalty, all together.

    Returns the held-out outputs PNC, and by penalty what a head of all samples starts from.
    """
    n_folds, grid = int(_all_max(folds_N)), len(PENALTIES)
    # Head (p, f) is trained without fold f under penalty p.
    seen_FN = (folds_N[None, :] != torch.arange(n_folds, device=x_ND.device)[:, None]).float()
    penalty_M = weights_N.new_tensor(PENALTIES).repeat_interleave(n_folds)
    many = _repeated(first, grid * n_folds)
    folded = _minimize(many, x_ND, y, weights_N * seen_FN.repeat(grid, 1), penalty_M, loss)
    outputs = forward(folded, x_ND).view(grid, n_folds, len(x_ND), -1)
    rows = torch.arange(len(folds_N), device=x_ND.device)
    return outputs[:, folds_N, rows], [first] * grid


def _one_by_one(
    first: Parameters, x_ND: Tensor, y: Tensor, weights_N: Tensor, folds_N: Tensor, loss: Loss
) -> tuple[Tensor, list[Parameters]]:
    """Fit the same heads one after another, each from that of the next stronger penalty.

    Returns the held-out outputs PNC, and by penalty what a head of all samples starts from.
    """
    held_out_PNC = x_ND.new_zeros(len(PENALTIES), len(x_ND), first["bias"].shape[-1])
    first_P = [first] * len(PENALTIES)
    for fold in range(int(_all_max(folds_N))):
        seen, unseen, head = folds_N != fold, folds_N == fold, first
        data = x_ND[seen], y[seen], weights_N[None, seen]
        for p in sorted(range(len(PENALTIES)), key=PENALTIES.__getitem__, reverse=True):
            penalty = weights_N.new_tensor([PENALTIES[p]])
            head = first_P[p] = _minimize(head, *data, penalty, loss, FEW_ITERATIONS)
            held_out_PNC[p, unseen] = forward(head, x_ND[unseen])[0]
    return held_out_PNC, first_P


@one_thread()
def fit_alike(
    embeddings_ND: npt.NDArray[np.float32],
    targets: npt.NDArray[np.generic],
    weights_MN: npt.NDArray[np.float32],
    outputs: int,
    loss: Loss,
) -> npt.NDArray[np.float32]:
    """Train one linear head per row of weights, all under the middle penalty.

    For comparisons of training sets, not for use. A sample of weight 0 teaches nothing.

    Returns:
        Every head's logits of all samples, shape MNC.
    """
    x_ND = torch.from_numpy(embeddings_ND)
    mean_D, scale_D = _moments(x_ND)
    x_ND = (x_ND - mean_D) / scale_D
    m, middle = len(weights_MN), PENALTIES[len(PENALTIES) // 2]
    fitted = _minimize(
        start("linear", m, x_ND.shape[1], outputs, 0, 0),
        x_ND,
        torch.from_numpy(targets),
        torch.from_numpy(weights_MN),
        torch.full((m,), middle),
        loss,
    )
    logits_MNC: npt.NDArray[np.float32] = forward(fitted, x_ND).numpy()
    return logits_MNC


def _minimize(
    first: Parameters,
    x_ND: Tensor,
    y: Tensor,
    weights_MN: Tensor,
    penalty_M: Tensor,
    loss: Loss,
    iterations: int = MAX_ITERATIONS,
) -> Parameters:
    """Minimize the weighted loss plus penalty of all heads by L-BFGS, full batch.

    The heads share no parameter, so the sum of their losses has each one's minimum in it. In a
    process group loss and gradient are summed over the processes, which then take the same step.
    """
    parameters = {k: v.clone().requires_grad_() for k, v in first.items()}
    scale_M = all_sum(weights_MN.sum(1)).clamp_min(1e-6)
    optimizer = torch.optim.LBFGS(
        list(parameters.values()),
        max_iter=iterations,
        history_size=10,
        tolerance_grad=1e-4,
        tolerance_change=1e-6,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss_MN = loss(forward(parameters, x_ND), y) * weights_MN
        summed = (loss_MN.sum(1) / scale_M).sum()
        summed.backward()  # type: ignore[no-untyped-call]
        total = all_sum(summed.detach())
        for name, value in parameters.items():
            assert value.grad is not None
            value.grad.copy_(all_sum(value.grad))
            if name.endswith("weight"):
                strength = (penalty_M / scale_M)[:, None, None]
                value.grad += strength * value.detach()
                total = total + 0.5 * (strength * value.detach() ** 2).sum()
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return {k: v.detach() for k, v in parameters.items()}


def _repeated(parameters: Parameters, n: int) -> Parameters:
    return {k: v.expand(n, *v.shape[1:]).clone() for k, v in parameters.items()}


def _standardized(parameters: Parameters, mean_D: Tensor, scale_D: Tensor) -> Parameters:
    """Turn parameters for raw embeddings into ones for (x - mean) / scale."""
    inner, bias = _inner(parameters)
    weight_MDX = parameters[inner] * scale_D[None, :, None]
    shift_MX = torch.einsum("d,mdx->mx", mean_D, parameters[inner])
    return {**parameters, inner: weight_MDX, bias: parameters[bias] + shift_MX}


def _raw(parameters: Parameters, mean_D: Tensor, scale_D: Tensor) -> Parameters:
    """Undo `_standardized`."""
    inner, bias = _inner(parameters)
    weight_MDX = parameters[inner] / scale_D[None, :, None]
    shift_MX = torch.einsum("d,mdx->mx", mean_D, weight_MDX)
    return {**parameters, inner: weight_MDX, bias: parameters[bias] - shift_MX}


def _inner(parameters: Mapping[str, Tensor]) -> tuple[str, str]:
    """Name the weight and bias that meet the embeddings."""
    return ("hidden_weight", "hidden_bias") if "hidden_weight" in parameters else ("weight", "bias")


def _moments(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each dimension, over all processes."""
    n = all_sum(torch.tensor(float(len(x_ND)), device=x_ND.device))
    mean_D = all_sum(x_ND.sum(0)) / n
    variance_D = all_sum(((x_ND - mean_D) ** 2).sum(0)) / n
    # A dimension that hardly varies stays as it is instead of becoming noise.
    return mean_D, variance_D.sqrt().clamp_min(1e-4)


def _all_max(folds_N: Tensor) -> Tensor:
    most = folds_N.max() + 1
    if place()[1] > 1:
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return most
