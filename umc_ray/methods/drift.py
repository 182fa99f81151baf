"""How far new data has moved from what a model was made on.

Suffixes: B bins.
"""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

PRIOR = 0.5
"""Added to each count: a bin that happens to be empty is not infinitely far."""


def population_stability(expected_B: IntArray, found_B: IntArray) -> float:
    """Return the population stability index of two counts over the same bins.

    0 for equal shares; by custom, below 0.1 nothing happened, above 0.25 a lot did.

    Source: Siddiqi 2006, Credit Risk Scorecards; Yurdakul 2018, Statistical Properties of
    Population Stability Index.
    """
    expected_share_B = (expected_B + PRIOR) / (expected_B + PRIOR).sum()
    found_share_B = (found_B + PRIOR) / (found_B + PRIOR).sum()
    terms_B = (found_share_B - expected_share_B) * np.log(found_share_B / expected_share_B)
    return float(terms_B.sum())
