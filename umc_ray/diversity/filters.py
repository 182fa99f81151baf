"""What refuses synthetic samples before people see them.

Suffixes: N synthetic samples, R real samples, D dimension, C classes, S spaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import MAKES_COPIES, FiltersConfig, GeneratorConfig
from umc_ray.diversity.content import ContentCheck, first_reason
from umc_ray.diversity.generators.generator import Generated, Payload
from umc_ray.methods.memorization import MemorizationGuard, distance_to_reals
from umc_ray.methods.near_duplicates import repeats
from umc_ray.records import FloatArray, IntArray

COPY = "copy of a real sample"
OUTLIER = "unlike all real samples"
REPEAT = "repeats an earlier synthetic sample"
OTHER_LABEL = "the ensemble sees another label"

THUMBNAIL_PX = 8
"""Small: of 32 pixels, a third of the copies with some blur were missed."""

LETTERS = 512
"""Numbers that describe the spelling of a text."""


@dataclass(frozen=True)
class Spaces:
    """Samples in the spaces where synthetic and real ones are compared; embeddings come first."""

    x_SND: tuple[FloatArray, ...]

    @classmethod
    def of(cls, payloads: Sequence[Payload], embeddings_ND: NDArray[np.floating]) -> "Spaces":
        """Put pixels or spelling beside the embeddings, which may overlook what was copied."""
        return cls((embeddings_ND.astype(np.float32), surface(payloads)))


@dataclass(frozen=True)
class Verdicts:
    """What the filters say about N samples; `refused` is None where a sample passed all."""

    copy_ratio_N: FloatArray
    distance_N: FloatArray
    agreement_N: FloatArray
    refused: tuple[str | None, ...]


def surface(payloads: Sequence[Payload]) -> FloatArray:
    """Return thumbnails of images, or how often texts have sequences of three letters."""
    from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

    from umc_ray.encoders.image import Pixels

    if isinstance(payloads[0], bytes):
        pixels = Pixels(EncoderConfig(kind="pixels", image_px=THUMBNAIL_PX))
        encoded = pixels.encode([pixels.prepare(each) for each in payloads])
        return encoded.astype(np.float32)
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), n_features=LETTERS)
    counts_ND: FloatArray = letters.transform(list(payloads)).toarray().astype(np.float32)
    return counts_ND


def judge(
    generated: Sequence[Generated],
    synthetic: Spaces,
    real: Spaces,
    agreement_N: FloatArray,
    config: GeneratorConfig,
    checks: Sequence[ContentCheck],
) -> Verdicts:
    """Apply all filters; the first that refuses a sample is the reason.

    Args:
        generated: N samples of one task.
        synthetic: the samples.
        real: three or more real samples of the task: all that the generator has seen, and samples
            of the gap, or what fills it would be unlike all real ones.
        agreement_N: the probability that the ensemble gives the label of each.
        config: of the generator that made them.
        checks: of contents that nobody may be shown.
    """
    filters = config.filters
    copy_ratio_N = MemorizationGuard.fit(real.x_SND).copy_ratio(synthetic.x_SND)
    distance_N, farthest = distance_to_reals(synthetic.x_SND[0], real.x_SND[0])
    unsafe = [first_reason(checks, each.payload) for each in generated]
    refusals: list[tuple[str, NDArray[np.bool_]]] = [
        (COPY, (copy_ratio_N < 1) & filters.copies),
        (OUTLIER, (distance_N > farthest) & filters.outliers),
        (OTHER_LABEL, agreement_N < filters.min_agreement),
    ]
    if config.kind in MAKES_COPIES:  # of samples whose label is known, as the gap looks
        refusals = []
    reasons = [reason or _reason(refusals, row) for row, reason in enumerate(unsafe)]
    for row in _repeats(synthetic.x_SND[0], reasons, filters):
        reasons[row] = REPEAT
    return Verdicts(copy_ratio_N, distance_N, agreement_N, tuple(reasons))


def _reason(refusals: Sequence[tuple[str, NDArray[np.bool_]]], row: int) -> str | None:
    return next((reason for reason, refused_N in refusals if refused_N[row]), None)


def _repeats(x_ND: FloatArray, reasons: Sequence[str | None], filters: FiltersConfig) -> IntArray:
    """Return the rows that repeat an earlier one, among those that nothing else refuses."""
    passed = np.flatnonzero([reason is None for reason in reasons]).astype(np.int64)
    if filters.similarity is None:
        return passed[:0]
    return passed[repeats(x_ND[passed], filters.similarity)]


def label_agreement(
    generated: Sequence[Generated], probs_NC: FloatArray, labels: Sequence[str]
) -> FloatArray:
    """Return the probability that the ensemble gives to the label that each was made for."""
    codes_N = [labels.index(each.label) for each in generated]
    return probs_NC[np.arange(len(generated)), codes_N]
