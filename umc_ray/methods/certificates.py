"""When a machine's label may stand without a person: a threshold, certified on audit samples.

Suffixes: N audit samples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from umc_ray.errors import DataError

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Those that are tried: fixed before any sample was seen, as the guarantee needs."""


@dataclass(frozen=True)
class Certificate:
    """Of labels whose probability is at least `threshold`, at most `bound` are wrong.

    That holds with the confidence that was asked for, for samples drawn like the audits were.
    `accepted` of the `audits` reach the threshold, `errors` of them wrongly.
    """

    threshold: float
    bound: float
    audits: int
    accepted: int
    errors: int


def certify(
    top_prob_N: npt.NDArray[np.floating],
    right_N: npt.NDArray[np.bool_],
    max_error: float,
    confidence: float,
) -> Certificate | None:
    """Find the lowest threshold whose labels are wrong at most so often; None if there is none.

    The error of each threshold is bounded on the audits that reach it, all bounds together with
    the confidence (Bonferroni). Without errors, 5 % at 95 % confidence takes 99 such audits.

    Source: Clopper & Pearson 1934, The use of confidence or fiducial limits illustrated in the
    case of the binomial; Angelopoulos et al. 2021, Learn then Test.
    """
    if top_prob_N.shape != right_N.shape:
        raise DataError(f"{top_prob_N.shape} probabilities for {right_N.shape} answers")
    for threshold in THRESHOLDS:
        accepted_N = top_prob_N >= threshold
        accepted, errors = int(accepted_N.sum()), int((~right_N[accepted_N]).sum())
        bound = upper_bound(errors, accepted, (1 - confidence) / len(THRESHOLDS))
        if bound <= max_error:
            return Certificate(threshold, bound, len(right_N), accepted, errors)
    return None


def upper_bound(errors: int, n: int, risk: float) -> float:
    """Bound an error rate from above by errors among n samples; it is higher at most at `risk`.

    Source: Clopper & Pearson 1934, as above; one-sided.
    """
    if errors == n:
        return 1.0
    return float(beta.ppf(1 - risk, errors + 1, n - errors))


def exact_interval(errors: int, n: int, risk: float = 0.05) -> tuple[float, float]:
    """Return an interval that misses an error rate at most at `risk`; 0 to 1 without samples.

    Source: Clopper & Pearson 1934, as above; two-sided.
    """
    low = float(beta.ppf(risk / 2, errors, n - errors + 1)) if errors else 0.0
    return low, upper_bound(errors, n, risk / 2)
