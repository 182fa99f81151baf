"""An encoder of text that needs no weights: which character n-grams it has.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Half, of_pairs, unit_length
from umc_ray.encoders.text import are_pairs, prepared_text
from umc_ray.methods.unicode_text import comparable

SIZES = (3, 5)
"""Characters of the shortest and the longest n-grams; they do not cross the ends of words."""

DIMENSION = 1024


class NGrams:
    """Counts of character n-grams, hashed: texts with the same wording lie together.

    Source: Weinberger et al. 2009, Feature hashing for large scale multitask learning.
    """

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer  # a second to import

        self.vectorizer = HashingVectorizer(
            analyzer="char_wb", ngram_range=SIZES, n_features=DIMENSION, norm=None
        )

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Return the text as it is, or those of a pair."""
        return prepared_text(payload)

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Count the n-grams of each text; those of a pair become one embedding."""
        if are_pairs(prepared):
            return of_pairs(self.encode(list(chain.from_iterable(prepared))))
        counts_ND = self.vectorizer.transform(map(comparable, prepared)).toarray()
        return unit_length(torch.from_numpy(counts_ND))
