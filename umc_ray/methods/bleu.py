"""How good texts are by the measures of machine translation: BLEU and chrF of a corpus.

The figures are sacrebleu's, with its signature: without one, a BLEU cannot be compared.

Source: Papineni et al. 2002, BLEU; Post 2018, A Call for Clarity in Reporting BLEU Scores.

Suffixes: N samples, T statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.methods.intervals import bootstrap_interval

SMOOTHING = "exp"


@dataclass(frozen=True)
class CorpusScore:
    """A score from 0 to 1 with its 95 % interval over samples, and how it was computed."""

    value: float
    low: float
    high: float
    signature: str


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScore:
    """Return the BLEU of some texts, each with one or several references."""
    from sacrebleu.metrics.bleu import BLEU  # half a second that most processes are spared

    metric = BLEU(smooth_method=SMOOTHING, force=True)  # no warnings of texts with loose periods
    each = [
        BLEU(smooth_method=SMOOTHING, effective_order=True).sentence_score(text, list(right))
        for text, right in zip(texts, references, strict=True)
    ]
    stats_NT = np.array(
        [[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in each], np.int64
    )

    def score(rows_N: npt.NDArray[np.int64]) -> float:
        total_T = stats_NT[rows_N].sum(0).tolist()
        counts, totals, (length, right_length) = total_T[:4], total_T[4:8], total_T[8:]
        found = BLEU.compute_bleu(counts, totals, length, right_length, SMOOTHING)
        return min(found.score / 100, 1.0)

    streams = _streams(references)
    metric.corpus_score(list(texts), streams)  # type: ignore[arg-type]  # counts references
    return CorpusScore(*bootstrap_interval(len(texts), score), str(metric.get_signature()))


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return first references, second ones, and so on; None where a text has fewer."""
    most = max(map(len, references))
    return [[dict(enumerate(right)).get(i) for right in references] for i in range(most)]
