"""What lists of texts say: which text to take, how good it is, and how far specialists agree.

Suffixes: S specialists, N samples, K places of a list, C numbers of a row.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch
from umc_ray.methods import text_lists
from umc_ray.methods.chrf import mean_likeness, pairwise
from umc_ray.methods.stacking import minimized
from umc_ray.methods.text_lists import CUT, TextLists

UNCHANGED = (0.0, 1.0)
"""The offset and the slope of log-odds that stay as they are."""

PRIOR_SD = 1.0
"""Of offsets, slopes and logarithms of temperatures: few samples say little beside it."""

_LEAST = 1e-4


@dataclass(frozen=True)
class Chosen:
    """The text of each list that is most like what the list expects.

    `worth_N` is its expected chrF, `mass_N` how likely it has a chrF that is good, both 0 to 1.
    """

    texts: list[str]
    worth_N: Tensor
    mass_N: Tensor


def choose(mean_NC: Tensor, good: float) -> Chosen:
    """Choose texts; of equals the first in alphabetical order, of a list without any, CUT.

    Source: Kumar and Byrne 2004, Minimum Bayes-Risk Decoding for Statistical Machine Translation.
    """
    lists = text_lists.unpack(mean_NC)
    probs_NK = lists.values_K.detach().nan_to_num(0).cpu().numpy()
    rows = zip(text_lists.texts_of(lists.bytes_KW), probs_NK, strict=True)
    found = [_best(texts, probs_K, good) for texts, probs_K in rows]
    numbers_N2 = torch.tensor([each[1:] for each in found], dtype=torch.float32).reshape(-1, 2)
    unknown_N = lists.rest.isnan()
    worth_N, mass_N = numbers_N2.masked_fill(unknown_N[:, None], torch.nan).unbind(1)
    return Chosen([text for text, _, _ in found], worth_N, mass_N)


def _best(
    texts: Sequence[str], probs_K: npt.NDArray[np.float32], good: float
) -> tuple[str, float, float]:
    """Return a text, its expected chrF, and how likely its chrF is good."""
    there = [k for k, text in enumerate(texts) if text]
    if not there:
        return CUT, 0.0, 0.0
    like_KK, probs_K = pairwise([texts[k] for k in there]), probs_K[there]
    worth_K, mass_K = like_KK @ probs_K, (like_KK >= good) @ probs_K
    best = min(range(len(there)), key=lambda k: (-round(float(worth_K[k]), 6), texts[there[k]]))
    return texts[there[best]], min(float(worth_K[best]), 1.0), min(float(mass_K[best]), 1.0)


@dataclass(frozen=True)
class TextScores:
    """How sure specialists are of what they wrote, and how alike it is; shapes N."""

    confidence_N: Tensor  # mean probability of a token of the answers
    surprise_N: Tensor  # bits per token of the answers
    within_N: Tensor  # mean chrF of what one specialist wrote
    between_N: Tensor  # of what two wrote; of one specialist, as within
    disagreement_N: Tensor  # 1 less the mean chrF of two answers

    @property
    def consistency_N(self) -> Tensor:
        """Return the mean of within and between."""
        return (self.within_N + self.between_N) / 2


def score_texts(probs_SNC: Tensor) -> TextScores:
    """Score the lists of S specialists; what could not be computed is NaN."""
    lists = text_lists.unpack(probs_SNC)
    texts_SNK = [text_lists.texts_of(bytes_NKW) for bytes_NKW in lists.bytes_KW]
    alike_N3 = torch.tensor([_alike(own) for own in zip(*texts_SNK, strict=True)])
    alike_N3 = alike_N3.reshape(-1, 3).masked_fill(lists.rest.isnan().any(0)[:, None], torch.nan)
    within_N, between_N, disagreement_N = alike_N3.unbind(1)
    return TextScores(
        confidence_N=lists.log_prob.exp().mean(0),
        surprise_N=-lists.log_prob.mean(0) / float(np.log(2)),
        within_N=within_N,
        between_N=between_N,
        disagreement_N=disagreement_N,
    )


def _alike(texts_SK: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Return the mean chrF within lists and between them, and how unlike their answers are."""
    own = [[text for text in texts_K if text] or [CUT] for texts_K in texts_SK]
    within = float(np.mean([mean_likeness(texts) for texts in own]))
    if len(own) < 2:
        return within, within, 0.0
    between = [float(_across(first, second)) for first, second in itertools.combinations(own, 2)]
    answers = mean_likeness([texts[0] for texts in own])
    return within, float(np.mean(between)), max(0.0, 1 - answers)


def _across(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the mean chrF of the texts of two lists, both ways."""
    all_KK, cut = pairwise([*first, *second]), len(first)
    return float((all_KK[:cut, cut:].mean() + all_KK[cut:, :cut].mean()) / 2)


def fit_list(lists: TextLists, likeness_NK: Tensor, weights_N: Tensor) -> tuple[float, float]:
    """Return the temperature of lists, and the shift of `rest`, for the least log-loss."""
    rows_NC, weights_N = text_lists.pack(lists)[None], weights_N.double()

    def loss(parameters: Tensor) -> Tensor:
        found = text_lists.unpack(
            text_lists.probabilities(rows_NC, parameters[:1].exp(), parameters[1:])[0]
        )
        losses_N = text_lists.log_loss(found.values_K, found.rest, likeness_NK)
        return losses_N.double() @ weights_N + 0.5 * ((parameters / PRIOR_SD) ** 2).sum()

    log_temperature, shift = minimized(loss, np.zeros(2)).tolist()
    return float(np.exp(log_temperature)), shift


def fit_log_odds(
    shares_N: Tensor, truth_N: npt.NDArray[np.floating], weights_N: npt.NDArray[np.floating]
) -> list[float]:
    """Return the offset and slope of log-odds for which shares tell values from 0 to 1 best.

    Source: Platt 1999, Probabilistic Outputs for Support Vector Machines (the prior is ours).
    """
    odds_N = _log_odds(shares_N.double())
    y_N, weights = torch.from_numpy(np.float64(truth_N)), torch.from_numpy(np.float64(weights_N))

    def loss(change: Tensor) -> Tensor:
        logits_N = change[0] + (1 + change[1]) * odds_N
        losses_N = torch.nn.functional.binary_cross_entropy_with_logits(
            logits_N, y_N, reduction="none"
        )
        return losses_N @ weights + 0.5 * ((change / PRIOR_SD) ** 2).sum()

    offset, slope = minimized(loss, np.zeros(2)).tolist()
    return [offset, 1 + slope]


def corrected(shares_N: Tensor, offset: float, slope: float) -> Tensor:
    """Return shares whose log-odds are moved; UNCHANGED leaves them exactly as they are."""
    if (offset, slope) == UNCHANGED:
        return shares_N
    return (offset + slope * _log_odds(shares_N)).sigmoid()


def _log_odds(shares_N: Tensor) -> Tensor:
    return shares_N.clamp(_LEAST, 1 - _LEAST).logit()
