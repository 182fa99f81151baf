"""Measure how far new data has drifted from the data that a model was trained on.

Suffixes: B bins.
"""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

PRIOR = 0.5
"""Pseudo-count per bin; keeps the index finite if a bin is empty."""


def population_stability(expected_B: IntArray, actual_B: IntArray) -> float:
    """Return the population stability index of two histograms with the same bins.

    It is 0 for equal shares. By convention, below 0.1 means no drift and above 0.25 a large one.

    Source: Siddiqi 2006, Credit Risk Scorecards; Yurdakul 2018, Statistical Properties of
    Population Stability Index.
    """
    expected_share_B = (expected_B + PRIOR) / (expected_B + PRIOR).sum()
    actual_share_B = (actual_B + PRIOR) / (actual_B + PRIOR).sum()
    terms_B = (actual_share_B - expected_share_B) * np.log(actual_share_B / expected_share_B)
    return float(terms_B.sum())
