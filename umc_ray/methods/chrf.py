"""How alike two texts are: chrF, an F-score of their runs of 1 to 6 characters, without spaces.

It equals sacrebleu's sentence-level chrF2, from 0 to 1 in place of 0 to 100.

Source: Popovic 2015, chrF: character n-gram F-score for automatic MT evaluation.

Suffixes: K texts.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from umc_ray.records import FloatArray

ORDER = 6
BETA = 2
"""How much more recall counts than precision."""

TIE = 1e-6
"""Means that differ by less are equal."""


def chrf(text: str, references: Sequence[str]) -> float:
    """Return the chrF of a text, of the reference to which it is most alike; of none, 0."""
    return max((_both_ways(text, reference)[0] for reference in references), default=0.0)


def pairwise(texts: Sequence[str]) -> FloatArray:
    """Return the chrF KK of each text (row) with each as the reference (column)."""
    found_KK = np.ones((len(texts), len(texts)), np.float32)
    for i, text in enumerate(texts):
        for j in range(i):
            found_KK[i, j], found_KK[j, i] = _both_ways(text, texts[j])
    return found_KK


def mean_likeness(texts: Sequence[str]) -> float:
    """Return the mean chrF of all pairs of texts, both ways; of a single text, 1."""
    n = len(texts)
    return 1.0 if n < 2 else float((pairwise(texts).sum() - n) / (n * (n - 1)))


def most_alike(texts: Sequence[str]) -> list[int]:
    """Return which texts have the highest mean chrF with the others, both ways; several: a tie.

    Equal texts are one of these: the first. With two different texts, each is as good.
    """
    both_KK = pairwise(texts)
    sums_K = (both_KK + both_KK.T).sum(1)
    best = np.flatnonzero(sums_K >= sums_K.max() - TIE * len(texts)).tolist()
    return [i for n, i in enumerate(best) if texts[i] not in [texts[j] for j in best[:n]]]


@lru_cache(maxsize=2**18)
def _both_ways(first: str, second: str) -> tuple[float, float]:
    """Return the chrF of each of two texts with the other one as the reference."""
    if first == second:
        return (1.0, 1.0) if _runs(first)[0] else (0.0, 0.0)
    precision = recall = 0.0
    orders = 0
    for own, other in zip(_runs(first), _runs(second), strict=True):
        if own and other:
            common = sum(min(n, other[run]) for run, n in own.items() if run in other)
            precision += common / own.total()
            recall += common / other.total()
            orders += 1
    if not orders or not precision:
        return 0.0, 0.0
    return _f(precision / orders, recall / orders), _f(recall / orders, precision / orders)


def _f(precision: float, recall: float) -> float:
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


@lru_cache(maxsize=2**10)  # some 50 kB each
def _runs(text: str) -> tuple[Counter[str], ...]:
    """Count the runs of 1 to ORDER characters."""
    packed = "".join(text.split())
    return tuple(
        Counter(packed[i : i + size] for i in range(len(packed) - size + 1))
        for size in range(1, ORDER + 1)
    )
