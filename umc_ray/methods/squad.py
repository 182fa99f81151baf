"""How answers that are texts compare: exact match and F1 by the official rules of SQuAD.

The rules are those of SQuAD 2.0, which are the rules of 1.1 where every question has an answer.

Source: Rajpurkar et al. 2016, SQuAD: 100,000+ Questions; Rajpurkar et al. 2018, Know What You Don't
Know (questions without an answer).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(text: str) -> str:
    """Return a text in lower case, without punctuation and articles, its spaces single."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(predicted: str, golds: Sequence[str]) -> bool:
    """Return whether a prediction is one of the right answers; none: there is no answer."""
    return normalized(predicted) in {normalized(gold) for gold in _right(golds)}


def f1(predicted: str, golds: Sequence[str]) -> float:
    """Return the F1 of the words of a prediction, of the right answer to which it is highest."""
    words = normalized(predicted).split()
    return max(_f1(words, normalized(gold).split()) for gold in _right(golds))


def _right(golds: Sequence[str]) -> Sequence[str]:
    """Return the right answers that are more than articles and punctuation, or that of none."""
    return [gold for gold in golds if normalized(gold)] or [""]


def _f1(a: Sequence[str], b: Sequence[str]) -> float:
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def most_agreed(texts: Sequence[str]) -> int:
    """Return which of several answers has the highest mean F1 to the others; of equals the first.

    Raises:
        ValueError: there are none.
    """
    sums = _agreement(texts)
    return max(range(len(texts)), key=lambda i: (sums[i], -i))


def is_tied(texts: Sequence[str]) -> bool:
    """Return whether answers in different words have the highest F1 to the others."""
    sums = _agreement(texts)
    best = [text for text, value in zip(texts, sums, strict=True) if value >= max(sums) - 1e-9]
    return len({normalized(text) for text in best}) > 1


def _agreement(texts: Sequence[str]) -> list[float]:
    """Return the sum of each answer's F1 to the others."""
    return [
        sum(f1(text, [other]) for j, other in enumerate(texts) if j != i)
        for i, text in enumerate(texts)
    ]
