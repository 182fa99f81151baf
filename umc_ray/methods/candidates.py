"""Lists of candidate answers as rows of numbers, so that they pass wherever class outputs do.

Where an answer is a span of a text, or a text of its own, a specialist gives the few most probable
ones. A list has LIST places, each with a value (a log-probability, or a probability), the place
where the answer begins in its text, -1 if it has none, and its UTF-8 bytes. What is not listed has
one value together, `rest`. All numbers but the values are whole and small: exact in float16.

Suffixes: S specialists, N samples, K places of a list, W bytes, U different candidates of a sample,
C numbers of a row, G right answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch

LIST, BYTES = 8, 128
WIDTH = 1 + LIST * (3 + BYTES)

NOTHING = -1e4
"""The log-probability of an empty place; finite, because rows with other numbers are unusable."""

UNLISTED = 100
"""As how many answers `rest` counts: one that a specialist did not list has such a share."""

_BASE = 1024  # float16 has all whole numbers up to twice as much
_MULTIPLIER = 0x5851F42D4C957F2D  # Knuth's MMIX: odd, so that no byte is lost
_LEAST_REST = 1e-6


@dataclass(frozen=True)
class Candidates:
    """Lists of candidates, with any axes before K."""

    rest: Tensor
    values_K: Tensor
    starts_K: Tensor  # int64
    bytes_KW: Tensor  # 0 after the end

    @property
    def texts_K(self) -> Tensor:
        """A number for each text: equal for equal texts, and 0 for an empty one."""
        return (self.bytes_KW.long() * _powers_W()).sum(-1)

    @property
    def lengths_K(self) -> Tensor:
        """How many characters each text has."""
        in_character = (self.bytes_KW >= 0x80) & (self.bytes_KW < 0xC0)
        return ((self.bytes_KW > 0) & ~in_character).sum(-1)


@cache
def _powers_W() -> Tensor:
    values, power = [], 1
    for _ in range(BYTES):
        values.append(power - 2**64 if power >= 2**63 else power)
        power = power * _MULTIPLIER % 2**64
    return torch.tensor(values, dtype=torch.int64)


def text_key(text: str) -> int:
    """Return the number of a text, or of its beginning, in `Candidates.texts_K`."""
    return int((text_bytes(text).long() * _powers_W()).sum())


def text_bytes(text: str) -> Tensor:
    """Return the bytes of a text, filled up with 0; what does not fit is cut off."""
    row_W = torch.zeros(BYTES)
    found = text.encode()[:BYTES]
    row_W[: len(found)] = torch.tensor(list(found), dtype=torch.float32)
    return row_W


def fits(text: str) -> bool:
    """Return whether a text is short enough to be a candidate."""
    return len(text.encode()) <= BYTES


def text_of(bytes_W: Tensor) -> str:
    """Return the text of some bytes; a character that was cut is left out."""
    return bytes(bytes_W.byte().tolist()).rstrip(b"\0").decode(errors="ignore")


def listed(found: Sequence[tuple[float, int, str]], rest: float) -> Tensor:
    """Return a row of at most LIST candidates: log-probability, start and text of each.

    `rest` is the log-probability of all others together.
    """
    values_K = torch.full((LIST,), NOTHING)
    starts_K, bytes_KW = torch.full((LIST,), -1), torch.zeros(LIST, BYTES)
    for place, (value, start, text) in enumerate(found[:LIST]):
        values_K[place], starts_K[place] = max(value, NOTHING), start
        bytes_KW[place] = text_bytes(text)
    return pack(Candidates(torch.tensor(max(rest, NOTHING)), values_K, starts_K, bytes_KW))


def pack(candidates: Candidates) -> Tensor:
    """Return lists as rows of numbers."""
    values_K, places_K = candidates.values_K, (candidates.starts_K + 1).to(candidates.values_K)
    high_K = torch.floor(places_K / _BASE)
    parts = [candidates.rest[..., None], values_K, high_K, places_K - _BASE * high_K]
    return torch.cat([*parts, candidates.bytes_KW.flatten(-2).to(values_K)], dim=-1)


def unpack(rows_C: Tensor) -> Candidates:
    """Return the lists of some rows."""
    sizes = [1, LIST, LIST, LIST, LIST * BYTES]
    rest, values_K, high_K, low_K, bytes_C = torch.split(rows_C, sizes, dim=-1)
    starts_K = (high_K * _BASE + low_K).long() - 1
    return Candidates(
        rest[..., 0], values_K, starts_K, bytes_C.reshape(*bytes_C.shape[:-1], LIST, BYTES)
    )


def probabilities(rows_SNC: Tensor, temperatures_S: Tensor) -> Tensor:
    """Return lists with probabilities in place of log-probabilities; `rest` is one answer."""
    values = rows_SNC[..., : 1 + LIST].float() / temperatures_S[:, None, None]
    return torch.cat([values.softmax(-1), rows_SNC[..., 1 + LIST :].float()], dim=-1)


@dataclass(frozen=True)
class Aligned:
    """All that specialists list for each sample, and what each gives to it.

    `probs_SNU` and `rest_SN` sum to 1. Places that hold nothing, or what an earlier one holds, have
    no probability.
    """

    probs_SNU: Tensor
    rest_SN: Tensor
    slots: Candidates  # U places each, without values


def align(rows_SNC: Tensor) -> Aligned:
    """Return the union of the candidates of S specialists, by place and text."""
    each = unpack(rows_SNC)
    starts_NU, bytes_NUW = (x.transpose(0, 1).flatten(1, 2) for x in (each.starts_K, each.bytes_KW))
    slots = Candidates(each.rest[0], each.values_K.new_empty(0), starts_NU, bytes_NUW)
    names_NU = slots.texts_K * 1_000_003 + starts_NU
    same_NUU = names_NU[:, :, None] == names_NU[:, None, :]
    is_first_NU = same_NUU.int().argmax(2) == torch.arange(names_NU.shape[1])
    same_NUSK = same_NUU.reshape(*starts_NU.shape, len(rows_SNC), LIST).to(each.values_K)
    probs_SNU = torch.einsum("nusk,snk->snu", same_NUSK, each.values_K) * is_first_NU
    is_there_NU = (probs_SNU > 0).any(0)
    rest_SN = each.rest.clamp_min(_LEAST_REST)
    share_SNU = ((probs_SNU == 0) & is_there_NU) * rest_SN[..., None] / UNLISTED
    rest_SN = rest_SN - share_SNU.sum(2)
    probs_SNU = probs_SNU + share_SNU
    total_SN = probs_SNU.sum(2) + rest_SN
    return Aligned(probs_SNU / total_SN[..., None], rest_SN / total_SN, slots)


def pooled(aligned: Aligned, weights_S: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what the ensemble gives to each candidate, shape NU, and to the rest.

    It is the weighted product of the members', or their plain mean. Gradients pass through.

    Source: Genest and Zidek 1986, Combining Probability Distributions (logarithmic pools).
    """
    probs_SNU, rest_SN = aligned.probs_SNU, aligned.rest_SN
    if weights_S is None:
        return probs_SNU.mean(0), rest_SN.mean(0)
    all_SNU = torch.cat([rest_SN[..., None], probs_SNU], dim=2)
    is_there_NU = (all_SNU > 0).all(0)
    logs_SNU = torch.where(is_there_NU, all_SNU, 1).log()
    product_NU = torch.tensordot(weights_S.to(logs_SNU), logs_SNU, dims=1)
    mean_NU = product_NU.masked_fill(~is_there_NU, -torch.inf).softmax(1)
    return mean_NU[:, 1:], mean_NU[:, 0]


def best_of(slots: Candidates, probs_NU: Tensor) -> Tensor:
    """Return the most probable candidates as rows; `rest` is what remains."""
    values_NK, order_NK = probs_NU.sort(dim=1, descending=True, stable=True)
    values_NK, order_NK = values_NK[:, :LIST], order_NK[:, :LIST]
    starts_NK = slots.starts_K.gather(1, order_NK)
    index = order_NK[..., None].expand(-1, -1, BYTES)
    bytes_NKW = slots.bytes_KW.gather(1, index)
    is_there_NK = values_NK > 0
    starts_NK = torch.where(is_there_NK, starts_NK, -1)
    bytes_NKW = bytes_NKW * is_there_NK[..., None]
    rest_N = (1 - values_NK.sum(1)).clamp(0, 1)
    return pack(Candidates(rest_N, values_NK, starts_NK, bytes_NKW))


def by_text(found: Candidates) -> Tensor:
    """Return the probability of each candidate's text, wherever it stands, shape NK."""
    texts_NK = found.texts_K
    same_NKK = texts_NK[..., :, None] == texts_NK[..., None, :]
    return (same_NKK * found.values_K[..., None, :]).sum(-1)


def likeliest(found: Candidates) -> tuple[Tensor, Tensor]:
    """Return which candidate is the most probable one of the most probable text, and its text's."""
    texts_NK = by_text(found)
    certainty_N = texts_NK.amax(1)
    is_likeliest_NK = texts_NK >= certainty_N[:, None] - 1e-6
    own_NK = found.values_K.masked_fill(~is_likeliest_NK, -1)
    return own_NK.argmax(1), certainty_N.clamp(0, 1)


def of_right_ones(found: Candidates, texts_NG: Tensor) -> Tensor:
    """Return the probability of N lists that the answer is one of G texts.

    `texts_NG` has their numbers. Of texts that are not listed it is a share of the rest.
    """
    is_right_NK = (found.texts_K[..., :, None] == texts_NG[..., None, :]).any(-1)
    is_right_NK &= found.values_K > 0
    listed_N = (found.values_K * is_right_NK).sum(-1)
    return torch.where(is_right_NK.any(-1), listed_N, found.rest / UNLISTED)


def classes_of(rows_NC: npt.NDArray[np.float32], texts_NG: Tensor) -> npt.NDArray[np.int64]:
    """Return the place of the first right answer in lists of log-probabilities, from 1; 0: none."""
    found = unpack(torch.from_numpy(rows_NC))
    is_right_NK = (found.texts_K[:, :, None] == texts_NG[:, None, :]).any(-1)
    is_right_NK &= found.values_K > NOTHING
    first_N = is_right_NK.int().argmax(1) + 1
    classes_N: npt.NDArray[np.int64] = torch.where(is_right_NK.any(1), first_N, 0).numpy()
    return classes_N


def entropy(probs_NU: Tensor, rest_N: Tensor) -> Tensor:
    """Return the entropy in bits; the rest is spread over UNLISTED answers."""
    each = torch.cat([probs_NU, rest_N[..., None]], dim=-1)
    own = -(each.clamp_min(torch.finfo(torch.float32).tiny).log2() * each).sum(-1)
    return own + rest_N * float(np.log2(UNLISTED))
