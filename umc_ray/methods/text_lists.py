"""Lists of texts that a specialist would write, as rows of numbers.

They pass wherever class outputs do. A row has `rest`, the log-probability of the answer per token,
and PLACES places, each with a value and the UTF-8 bytes of a text. The first text of a specialist
is its answer, the others are drawn from it. Values are log-probabilities, or probabilities, that a
right answer is like the text; `rest` is that it is like none. How many bytes a text may have is up
to the task, and says how long a row is. All numbers but the first ones are exact in float16.

Suffixes: S specialists, N samples, K places, U texts of all specialists, W bytes, C numbers of a
row, G right answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch
from umc_ray.methods.chrf import chrf, mean_likeness

PLACES = 6

NOTHING = -1e4
"""The log-probability of an empty place; finite, because rows with other numbers are unusable."""

UNLIKE = 0.01
"""As how likely a right answer counts that is like no text of a list, beside one that equals it."""

CUT = "…"
"""How a text ends that was longer, and what stands for one that has no letters."""

_LEAST = 1e-3
_HEAD = 2  # rest and the log-probability


@dataclass(frozen=True)
class TextLists:
    """Lists of texts, with any axes before K."""

    rest: Tensor
    log_prob: Tensor  # of the answer, per token
    values_K: Tensor
    bytes_KW: Tensor  # 0 after the end


def width_of(size: int) -> int:
    """Return the numbers of a row whose texts have at most so many bytes."""
    return _HEAD + PLACES * (1 + size)


def size_of(width: int) -> int:
    """Return the bytes that the texts of a row of so many numbers have at most."""
    return (width - _HEAD) // PLACES - 1


def unpack(rows_C: Tensor) -> TextLists:
    """Return the lists of some rows."""
    size = size_of(rows_C.shape[-1])
    head, values_K, bytes_C = torch.split(rows_C, [_HEAD, PLACES, PLACES * size], dim=-1)
    bytes_KW = bytes_C.reshape(*bytes_C.shape[:-1], PLACES, size)
    return TextLists(head[..., 0], head[..., 1], values_K, bytes_KW)


def pack(lists: TextLists) -> Tensor:
    """Return lists as rows of numbers."""
    head = torch.stack([lists.rest, lists.log_prob], dim=-1)
    return torch.cat([head, lists.values_K, lists.bytes_KW.flatten(-2).to(head)], dim=-1)


def listed(found: Sequence[tuple[float, str]], size: int) -> Tensor:
    """Return a row of texts, each with its log-probability per token; the answer is the first.

    How likely the texts are to be right is the product of how probable the answer is and how alike
    they are. Half of it is the answer's, the other half is the others', by their probabilities. A
    text that does not fit is cut so that one can see it.
    """
    texts = [fitted(text, size) for _, text in found[:PLACES]]
    if not texts:
        return listed([(NOTHING, CUT)], size)
    logs_K = torch.tensor([log_prob for log_prob, _ in found[:PLACES]], dtype=torch.float32)
    sure = float(logs_K[0].exp()) * mean_likeness(texts)
    sure = min(max(sure, _LEAST), 1 - _LEAST)
    values_K, bytes_KW = torch.full((PLACES,), NOTHING), torch.zeros(PLACES, size)
    values_K[0] = np.log(sure)
    if len(texts) > 1:
        others_K = logs_K[1:].log_softmax(0)
        values_K[: len(texts)] = torch.cat([torch.zeros(1), others_K]) + float(np.log(sure / 2))
    bytes_KW[: len(texts)] = torch.from_numpy(text_bytes(texts, size)).float()
    rest = torch.tensor(float(np.log1p(-sure)))
    return pack(TextLists(rest, logs_K[0].clamp_min(NOTHING), values_K, bytes_KW))


def fitted(text: str, size: int) -> str:
    """Return a text of at most so many bytes, cut after a word and marked where it has more."""
    text = text.replace("\0", "").strip() or CUT
    if len(text.encode()) <= size:
        return text
    room = size - len(CUT.encode())
    kept = text.encode()[:room].decode(errors="ignore")
    words = kept.rpartition(" ")[0].rstrip()
    return (words if 2 * len(words) > len(kept) else kept) + CUT


def text_bytes(texts: Sequence[str], size: int) -> npt.NDArray[np.uint8]:
    """Return the bytes KW of texts that fit, filled up with 0."""
    found_KW = np.zeros((len(texts), size), np.uint8)
    for row_W, text in zip(found_KW, texts, strict=True):
        found = text.encode()
        row_W[: len(found)] = np.frombuffer(found, np.uint8)
    return found_KW


def texts_of(bytes_KW: Tensor) -> list[list[str]]:
    """Return the texts of N lists, from their bytes NKW; an empty place has an empty text."""
    rows_NKW = bytes_KW.nan_to_num(0).to(torch.uint8).cpu().numpy()
    return [[row_W.tobytes().rstrip(b"\0").decode() for row_W in own_KW] for own_KW in rows_NKW]


def probabilities(rows_SNC: Tensor, temperatures_S: Tensor, shifts_S: Tensor) -> Tensor:
    """Return lists with probabilities in place of log-probabilities, and the same of `rest`."""
    each = unpack(rows_SNC.float())
    logits = torch.cat([each.rest[..., None], each.values_K], dim=-1)
    logits = logits / temperatures_S[:, None, None]
    logits = torch.cat([logits[..., :1] + shifts_S[:, None, None], logits[..., 1:]], dim=-1)
    probs = logits.softmax(-1)
    return pack(TextLists(probs[..., 0], each.log_prob, probs[..., 1:], each.bytes_KW))


def pooled(probs_SNC: Tensor, weights_S: Tensor) -> Tensor:
    """Return the most probable texts of all specialists as rows NC; gradients pass through.

    Probabilities are the mean by weights; the more these sum up to, the surer the ensemble is.
    """
    each = unpack(probs_SNC)
    share_S = weights_S.to(probs_SNC)
    power = share_S.sum().clamp_min(_LEAST)
    share_S = share_S / power
    values_NU = (share_S[:, None, None] * each.values_K).transpose(0, 1).flatten(1)
    rest_N = torch.tensordot(share_S, each.rest, dims=1)
    bytes_NUW = each.bytes_KW.transpose(0, 1).flatten(1, 2)
    values_NU = _merged(values_NU, bytes_NUW)
    values_NK, order_NK = values_NU.sort(dim=1, descending=True, stable=True)
    values_NK, order_NK = values_NK[:, :PLACES], order_NK[:, :PLACES]
    bytes_NKW = bytes_NUW.gather(1, order_NK[..., None].expand(-1, -1, bytes_NUW.shape[2]))
    all_NK = torch.cat([rest_N[:, None], values_NK], dim=1)
    is_there_NK = all_NK > 0
    logs_NK = torch.where(is_there_NK, all_NK, 1).log() * power
    probs_NK = logs_NK.masked_fill(~is_there_NK, -torch.inf).softmax(1)
    log_prob_N = torch.tensordot(share_S, each.log_prob.exp(), dims=1).clamp_min(1e-30).log()
    bytes_NKW = bytes_NKW * is_there_NK[:, 1:, None]
    return pack(TextLists(probs_NK[:, 0], log_prob_N, probs_NK[:, 1:], bytes_NKW))


def _merged(values_NU: Tensor, bytes_NUW: Tensor) -> Tensor:
    """Return the values, those of equal texts at the first of them and 0 at the others."""
    names = torch.arange(1, bytes_NUW.shape[2] + 1, dtype=torch.float64).sqrt()
    keys_NU = (bytes_NUW.double() * names).sum(-1)
    same_NUU = (keys_NU[:, :, None] - keys_NU[:, None, :]).abs() < 1e-6
    is_first_NU = same_NUU.int().argmax(2) == torch.arange(keys_NU.shape[1])
    return torch.einsum("nuv,nv->nu", same_NUU.to(values_NU), values_NU) * is_first_NU


def likeness(texts_NK: Sequence[Sequence[str]], right_NG: Sequence[Sequence[str]]) -> Tensor:
    """Return how like right answers the texts of lists are, shape NK, 0 to 1."""
    rows = [
        [chrf(text, right) for text in own] for own, right in zip(texts_NK, right_NG, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, PLACES)


def log_loss(probs_NK: Tensor, rest_N: Tensor, likeness_NK: Tensor) -> Tensor:
    """Return minus the log of how likely lists make right answers, shape N.

    That is their expected likeness; of answers that are unlike all texts, a small share of `rest`.
    """
    likely_N = (probs_NK * likeness_NK.to(probs_NK)).sum(-1)
    unlike_N = UNLIKE * (1 - likeness_NK.to(probs_NK).amax(-1)) * rest_N
    return -(likely_N + unlike_N).clamp_min(1e-9).log()
