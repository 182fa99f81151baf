"""How informative each sample is, from the class probabilities of an ensemble of specialists.

Suffixes: S specialists, N samples, C classes, M samples kept. Entropies and divergences in bits.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch
from umc_ray.errors import ConfigError, DataError

# Numbers a block of probabilities holds: the temporaries stay in a core's cache, and one kernel
# launch on a GPU has enough to do.
_BLOCK_CPU, _BLOCK_CUDA = 2**19, 2**26
MOST_PAIRS = 1000
"""Of specialists whose divergence is averaged: of 45 all, of 200 each with eight others."""

_TINY = float(np.finfo(np.float32).tiny)  # keeps log finite where a probability is zero


@dataclass(frozen=True)
class Scores:
    """What an ensemble says about N samples; float32 tensors on the device of the probabilities.

    `score_N` is S * (confidence - disagreement): low means ask a person.
    """

    mean_NC: Tensor
    confidence_N: Tensor
    disagreement_N: Tensor
    score_N: Tensor
    margin_N: Tensor
    entropy_N: Tensor
    mutual_information_N: Tensor


def ensemble_probabilities(logits_SNC: Tensor, temperatures_S: Tensor) -> Tensor:
    """Turn the specialists' logits into calibrated float32 probabilities, shape SNC.

    Raises:
        DataError: the temperatures are not S positive numbers.
    """
    n_specialists = logits_SNC.shape[0]
    if temperatures_S.shape != (n_specialists,) or not bool((temperatures_S > 0).all()):
        raise DataError(
            f"need {n_specialists} positive temperatures, one per specialist; "
            f"got {temperatures_S.tolist()}"
        )
    n, n_classes = logits_SNC.shape[1:]
    probs_SCN = logits_SNC.new_empty(n_specialists, n_classes, n, dtype=torch.float32)
    scale_S = temperatures_S.to(logits_SNC.device, torch.float32).reciprocal()
    for rows in _blocks(logits_SNC):
        scaled_SCN = _samples_last(logits_SNC[:, rows]) * scale_S[:, None, None]
        probs_SCN[:, :, rows] = torch.softmax(scaled_SCN, dim=1)
    return probs_SCN.transpose(1, 2)


def logarithmic_pooling(probs_SNC: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function from weights S to the weighted product of class probabilities, shape NC.

    Source: Genest and Zidek 1986, Combining Probability Distributions (logarithmic pools).
    """
    logs_SNC = probs_SNC.clamp_min(_TINY).log()

    def product(weights_S: Tensor) -> Tensor:
        product_NC: Tensor = torch.tensordot(weights_S.to(logs_SNC), logs_SNC, dims=1).softmax(1)
        return product_NC

    return product


def score(probs_SNC: Tensor, weights_S: Tensor | None = None) -> Scores:
    """Score N samples by the probabilities that S specialists give to C classes.

    Each row must sum to 1. `mean_NC` is the ensemble's: by weights, or the plain mean.
    Disagreement is the mean Jensen-Shannon divergence over pairs of specialists, 0 to 1 (0 for one
    specialist); mutual information is that of label and specialist.

    Source: Lin 1991, Divergence measures based on the Shannon entropy;
    Houlsby et al. 2011, Bayesian Active Learning for Classification (mutual information).
    """
    if probs_SNC.ndim != 3 or probs_SNC.shape[0] < 1 or probs_SNC.shape[2] < 2:
        raise DataError(f"need probabilities SNC with C >= 2, got shape {tuple(probs_SNC.shape)}")
    n = probs_SNC.shape[1]
    mean_NC = probs_SNC.new_empty(n, probs_SNC.shape[2], dtype=torch.float32)
    columns_FN = probs_SNC.new_empty(6, n, dtype=torch.float32)
    for rows in _blocks(probs_SNC):
        block_SCN = _samples_last(probs_SNC[:, rows])
        mixed_CN = block_SCN.mean(0)
        mean_CN = mixed_CN if weights_S is None else _product(block_SCN, weights_S)
        mean_NC[rows] = mean_CN.T
        torch.stack(_block_scores(block_SCN, mixed_CN, mean_CN), out=columns_FN[:, rows])
    return Scores(mean_NC, *columns_FN.unbind(0))


def _samples_last(block_SNC: Tensor) -> Tensor:
    """The block as float32 SCN, where reductions over C run on whole vectors, 4 times faster."""
    return block_SNC.transpose(1, 2).contiguous().float()


def _product(probs_SCN: Tensor, weights_S: Tensor) -> Tensor:
    logs_SCN = probs_SCN.clamp_min(_TINY).log_()
    product_CN: Tensor = torch.tensordot(weights_S.to(logs_SCN), logs_SCN, dims=1).softmax(0)
    return product_CN


def _block_scores(probs_SCN: Tensor, mixed_CN: Tensor, mean_CN: Tensor) -> list[Tensor]:
    n_specialists = probs_SCN.shape[0]
    entropy_SN = _entropy(probs_SCN)
    mixed_N = _entropy(mixed_CN)
    entropy_N = mixed_N if mean_CN is mixed_CN else _entropy(mean_CN)
    confidence_N = probs_SCN.amax(1).mean(0)
    disagreement_N = _disagreement(probs_SCN, entropy_SN)
    return [
        confidence_N,
        disagreement_N,
        n_specialists * (confidence_N - disagreement_N),
        _margin(mean_CN),
        entropy_N,
        (mixed_N - entropy_SN.mean(0)).clamp_min(0),
    ]


def _margin(mean_CN: Tensor) -> Tensor:
    """Best minus second best class; unlike topk, a few passes over whole vectors."""
    top_N = mean_CN.amax(0)
    is_top_CN = mean_CN == top_N
    second_N = mean_CN.masked_fill(is_top_CN, 0).amax(0)
    return torch.where(is_top_CN.sum(0) > 1, 0, top_N - second_N)


def _entropy(probs: Tensor) -> Tensor:
    """Entropy in bits over the second last dimension."""
    return -(probs.clamp_min(_TINY).log2_().mul_(probs)).sum(-2)


def _disagreement(probs_SCN: Tensor, entropy_SN: Tensor) -> Tensor:
    """Mean over pairs of JSD(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2.

    With t = p + q and h(t) = -sum t log t, H(t / 2) = 1 + h(t) / 2, which saves a pass to halve.
    Of many specialists, each is compared with the same number of others.
    """
    n_specialists = probs_SCN.shape[0]
    if n_specialists == 1:
        return torch.zeros_like(entropy_SN[0])
    mixed_N = torch.zeros_like(entropy_SN[0])
    pairs = n_specialists * (n_specialists - 1) / 2
    if pairs <= MOST_PAIRS:
        for i in range(n_specialists - 1):
            mixed_N += _entropy(probs_SCN[i + 1 :] + probs_SCN[i]).sum(0)
    else:
        steps = _steps(n_specialists)
        pairs = n_specialists * len(steps)
        for step in steps:
            mixed_N += _entropy(probs_SCN + probs_SCN.roll(step, 0)).sum(0)
    return (1 + mixed_N / (2 * pairs) - entropy_SN.mean(0)).clamp_(0, 1)


def _steps(n_specialists: int) -> list[int]:
    """Return how far apart in a circle of specialists those are that are compared."""
    count = max(1, MOST_PAIRS // n_specialists)
    steps: list[int] = np.unique(
        np.linspace(1, (n_specialists - 1) // 2, count, dtype=int)
    ).tolist()
    return steps


def _blocks(values_SNC: Tensor) -> Iterator[slice]:
    n_specialists, n, n_classes = values_SNC.shape
    size = _BLOCK_CUDA if values_SNC.is_cuda else _BLOCK_CPU
    step = max(1, size // (n_specialists * n_classes))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


ACQUISITIONS: Mapping[str, Callable[[Scores], Tensor]] = MappingProxyType(
    {
        "margin": lambda s: 1 - s.margin_N,
        "entropy": lambda s: s.entropy_N,
        "score": lambda s: -s.score_N,
        "least_confidence": lambda s: 1 - s.mean_NC.amax(1),
        "mutual_information": lambda s: s.mutual_information_N,
    }
)


def acquisition(scores: Scores, name: str) -> Tensor:
    """Say how much each sample deserves a person's answer: higher = ask first.

    Raises:
        ConfigError: no acquisition has this name.
    """
    if name not in ACQUISITIONS:
        raise ConfigError(f"unknown acquisition {name!r}; known: {', '.join(ACQUISITIONS)}")
    return ACQUISITIONS[name](scores)


def urgency(value: float, name: str, classes: int, specialists: int) -> float:
    """Scale the value of an acquisition function to 0 (sure) to 1 (ask first)."""
    if name in ("entropy", "mutual_information"):
        value /= math.log2(classes)
    if name == "score":
        value = (value / specialists + 1) / 2
    return min(max(value, 0.0), 1.0)


def top_m(
    acquisition_N: npt.NDArray[np.floating], ids_N: npt.NDArray[np.int64], m: int
) -> npt.NDArray[np.intp]:
    """Find the m rows of highest acquisition, best first; ties go to the smaller sample id.

    Raises:
        DataError: an acquisition is not a number.
    """
    if np.isnan(acquisition_N).any():
        raise DataError(f"{int(np.isnan(acquisition_N).sum())} acquisition values are NaN")
    n = len(acquisition_N)
    rows = np.arange(n)
    if m <= 0:
        return rows[:0]
    if m < n:
        threshold = np.partition(acquisition_N, n - m)[n - m]
        rows = np.flatnonzero(acquisition_N >= threshold)
    return rows[np.lexsort((ids_N[rows], -acquisition_N[rows]))][:m]


def merge_top(
    parts: Sequence[tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]], m: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]:
    """Merge the (acquisition, ids) lists of several parts into the m best of all, best first.

    Exact when each part holds its own m best.
    """
    acquisition_N = np.concatenate([part[0] for part in parts])
    ids_N = np.concatenate([part[1] for part in parts])
    best = top_m(acquisition_N, ids_N, m)
    return acquisition_N[best], ids_N[best]
