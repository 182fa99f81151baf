"""Find the words that distinguish groups of texts.

Suffixes: G groups, W words.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[^\W\d_]{2,}")
_PRIOR = 1000.0  # pseudo-counts per group, distributed like all words


def distinguishing_words(groups: Sequence[Sequence[str]], max_words: int) -> list[list[str]]:
    """Return for each group of texts the words that it overuses, most distinctive first.

    A word counts once per text. Only words that are significantly more frequent than in the other
    groups (z > 1.96) are returned.

    Source: Monroe, Colaresi and Quinn 2008, Fightin' Words (log-odds, informative Dirichlet prior).
    """
    counters = [Counter(word for text in texts for word in _words(text)) for texts in groups]
    words = sorted(set().union(*counters))
    count_GW = np.array([[counter[word] for word in words] for counter in counters], np.float64)
    if not count_GW.size:
        return [[] for _ in groups]
    all_W = count_GW.sum(0)
    prior_W = _PRIOR * all_W / all_W.sum()
    distinctive = []
    for own_W in count_GW:
        odds, other = _log_odds(own_W, prior_W), _log_odds(all_W - own_W, prior_W)
        spread_W = np.sqrt(1 / (own_W + prior_W) + 1 / (all_W - own_W + prior_W))
        z_W = (odds - other) / spread_W
        order = np.argsort(-z_W, kind="stable")[:max_words]
        distinctive.append([words[i] for i in order if z_W[i] > 1.96])
    return distinctive


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _log_odds(
    count_W: np.ndarray[tuple[int], np.dtype[np.float64]],
    prior_W: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with_prior_W = count_W + prior_W
    odds: np.ndarray[tuple[int], np.dtype[np.float64]] = np.log(with_prior_W) - np.log(
        with_prior_W.sum() - with_prior_W
    )
    return odds
