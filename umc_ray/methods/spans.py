"""Spans of a text: their joint distribution by a network's logits, and how far two are apart.

A network gives each token of a text two logits: that the answer begins there, and that it ends
there. The score of a span is the sum of both. All spans that are short enough, in all windows of a
long text, have one distribution together, with "no answer" as one of them.

Suffixes: V windows of a sample, T tokens, L lengths of spans in tokens, S specialists, N samples, K
candidates, J pieces of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.deferred import Tensor, torch

MAX_TOKENS = 48
"""Of a span. The bytes that a candidate may have are the other limit."""

Offsets = npt.NDArray[np.int64]
"""Where each token begins and ends in the context, T x 2; (-1, -1) for a token outside of it."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Scored:
    """The scores of all spans of one sample; `none` is that of no answer."""

    spans_VTL: Tensor  # by first token and length less one; -inf: there is no such span
    none: Tensor

    @property
    def total(self) -> Tensor:
        """The logarithm of what all scores sum to."""
        return torch.cat([self.spans_VTL.flatten(), self.none[None]]).logsumexp(0)


def score_spans(logits: Sequence[Tensor], offsets: Sequence[Offsets]) -> Scored:
    """Score the spans of a sample.

    Args:
        logits: of each window, T x 2; the first token stands for "no answer". There may be more
            than T rows, which are padding.
        offsets: of the tokens of each window.

    Source: Clark and Gardner 2018, Simple and Effective Multi-Paragraph Reading Comprehension (one
    distribution over all windows).
    """
    longest = max(len(each) for each in offsets)
    spans = []
    for found_T2, offsets_T2 in zip(logits, offsets, strict=True):
        in_context_T = torch.from_numpy(offsets_T2[:, 0] >= 0).to(found_T2.device)
        own_T2 = found_T2[: len(offsets_T2)].masked_fill(~in_context_T[:, None], -torch.inf)
        missing = longest - len(offsets_T2)
        own_T2 = torch.nn.functional.pad(
            own_T2, (0, 0, 0, missing + MAX_TOKENS - 1), value=-torch.inf
        )
        ends_TL = own_T2[:, 1].unfold(0, MAX_TOKENS, 1)
        spans.append(own_T2[:longest, :1] + ends_TL)
    none_V = torch.stack([each[0].sum() for each in logits])
    return Scored(torch.stack(spans), none_V.mean())


def log_loss(
    found: Scored, offsets: Sequence[Offsets], right: Sequence[tuple[int, int]], none: bool
) -> Tensor:
    """Return minus the log-probability of some spans together, from and to characters.

    `none`: no answer is right, too. 0 where none of them is in a window.
    """
    cells = [
        found.spans_VTL[window, first, last - first]
        for window, offsets_T2 in enumerate(offsets)
        for start, end in right
        for first, last in tokens_of(offsets_T2, start, end)
    ]
    cells = [*cells, found.none] if none else cells
    if not cells:
        return found.total * 0
    return found.total - torch.stack(cells).logsumexp(0)


def tokens_of(offsets_T2: Offsets, start: int, end: int) -> list[tuple[int, int]]:
    """Return the first and last token of a span of characters; empty if the window lacks one.

    A span of more tokens than there may be is cut.
    """
    rows = np.flatnonzero(offsets_T2[:, 0] >= 0)
    if not len(rows) or start < offsets_T2[rows[0], 0] or end > offsets_T2[rows[-1], 1]:
        return []
    inside = rows[(offsets_T2[rows, 1] > start) & (offsets_T2[rows, 0] < end)]
    if not len(inside):
        return []
    first = int(inside[0])
    return [(first, min(int(inside[-1]), first + MAX_TOKENS - 1))]


def most_probable(
    found: Scored, offsets: Sequence[Offsets], count: int
) -> list[tuple[float, int, int]]:
    """Return some spans of the highest probability: its logarithm, first and last character + 1.

    The same span in several windows is one; (-1, -1) is no answer. Best first.
    """
    scores_VTL = found.spans_VTL.flatten()
    values, places = scores_VTL.topk(min(count * (len(offsets) + 1), len(scores_VTL)))
    log_probs = (values - found.total).tolist()
    by_span = {(-1, -1): float(found.none - found.total)}
    _, tokens, lengths = found.spans_VTL.shape
    for value, place in zip(log_probs, places.tolist(), strict=True):
        if value == -float("inf"):
            break
        window, first = divmod(place // lengths, tokens)
        last = first + place % lengths
        span = int(offsets[window][first, 0]), int(offsets[window][last, 1])
        by_span[span] = float(np.logaddexp(by_span.get(span, -np.inf), value))
    best = sorted(by_span.items(), key=lambda item: (-item[1], item[0]))
    return [(value, start, end) for (start, end), value in best]


def windows(tokens: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Return from and to which token each window of a long context goes; they overlap by `stride`.

    `size` is how many a window has, more than `stride`.
    """
    if tokens <= size:
        return [(0, tokens)]
    starts = [*range(0, tokens - size, size - stride), tokens - size]
    return [(start, start + size) for start in starts]


def overlap(starts_NK: Tensor, lengths_NK: Tensor, best_N: Tensor) -> Tensor:
    """Return the F1 of the characters of each span and one of them; 1 for two of no length."""
    start_N1, length_N1 = (x.gather(1, best_N[:, None]) for x in (starts_NK, lengths_NK))
    ends_NK, end_N1 = starts_NK + lengths_NK, start_N1 + length_N1
    common_NK = torch.minimum(ends_NK, end_N1) - torch.maximum(starts_NK, start_N1)
    both_NK = (lengths_NK + length_N1).clamp_min(1)
    shares_NK = 2 * common_NK.clamp_min(0) / both_NK
    return torch.where((lengths_NK == 0) & (length_N1 == 0), 1.0, shares_NK)


def disagreement(
    probs_SNK: Tensor, rest_SN: Tensor, starts_NK: Tensor, lengths_NK: Tensor
) -> Tensor:
    """Return how far specialists are apart on the characters of the answer, 0 to 1.

    A specialist's probability of a span is spread over its characters; spans of no length, and what
    is not listed, have a place of their own. It is the mean Jensen-Shannon divergence, in bits, of
    pairs of specialists: spans that share characters differ by less than those that share none.

    Source: Lin 1991, Divergence measures based on the Shannon entropy (on characters, ours).
    """
    if len(probs_SNK) == 1:
        return torch.zeros_like(rest_SN[0])
    ends_NK = starts_NK + lengths_NK
    cuts_NJ = torch.cat([starts_NK, ends_NK], dim=1).sort(dim=1).values
    left_N1J, right_N1J = cuts_NJ[:, None, :-1], cuts_NJ[:, None, 1:]
    is_in_NKJ = (starts_NK[..., None] <= left_N1J) & (right_N1J <= ends_NK[..., None])
    density_SNK = probs_SNK / lengths_NK.clamp_min(1)
    pieces_SNJ = torch.einsum("snk,nkj->snj", density_SNK, is_in_NKJ.to(density_SNK))
    pieces_SNJ = pieces_SNJ * (right_N1J - left_N1J)[:, 0]
    none_SN = (probs_SNK * (lengths_NK == 0)).sum(2)
    whole_SNJ = torch.cat([pieces_SNJ, none_SN[..., None], rest_SN[..., None]], dim=2)
    entropy_SN, n = _entropy(whole_SNJ), len(probs_SNK)
    total_N = torch.zeros_like(rest_SN[0])
    for i in range(n - 1):
        mixed = _entropy((whole_SNJ[i + 1 :] + whole_SNJ[i]) / 2)
        total_N = total_N + (mixed - (entropy_SN[i + 1 :] + entropy_SN[i]) / 2).sum(0)
    return (total_N / (n * (n - 1) / 2)).clamp(0, 1)


def _entropy(probs_J: Tensor) -> Tensor:
    return -(probs_J.clamp_min(_TINY).log2() * probs_J).sum(-1)
