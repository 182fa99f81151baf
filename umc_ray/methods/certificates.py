"""Certify on audit samples from which probability a predicted label needs no annotator.

Suffixes: N audit samples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""The candidates; the guarantee requires that they are fixed before any sample is seen."""


@dataclass(frozen=True)
class Certificate:
    """At most the share `bound` of the labels with a probability >= `threshold` is wrong.

    This holds with the requested confidence, for samples drawn like the audits. Of the `audits`,
    `accepted` reach the threshold and `errors` of these are wrong.
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
    """Return the lowest threshold with an error rate of at most `max_error`, or None.

    The error rate at each threshold is bounded on the audits that reach it; all bounds hold
    together with the confidence (Bonferroni). Without errors, certifying 5 % at 95 % confidence
    takes 99 such audits.

    Source: Clopper & Pearson 1934, The use of confidence or fiducial limits illustrated in the
    case of the binomial; Angelopoulos et al. 2021, Learn then Test.
    """
    if top_prob_N.shape != right_N.shape:
        raise DataError(f"got {top_prob_N.shape} probabilities for {right_N.shape} answers")
    for threshold in THRESHOLDS:
        accepted_N = top_prob_N >= threshold
        accepted, errors = int(accepted_N.sum()), int((~right_N[accepted_N]).sum())
        bound = upper_bound(errors, accepted, (1 - confidence) / len(THRESHOLDS))
        if bound <= max_error:
            return Certificate(threshold, bound, len(right_N), accepted, errors)
    return None


def upper_bound(errors: int, n: int, risk: float) -> float:
    """Return an upper bound of an error rate that fails with a probability of at most `risk`.

    Source: Clopper & Pearson 1934, as above; one-sided.
    """
    return 1.0 if errors == n else _beta_quantile(1 - risk, errors + 1, n - errors)


def exact_interval(errors: int, n: int, risk: float = 0.05) -> tuple[float, float]:
    """Return an interval that misses the error rate with a probability of at most `risk`.

    Without samples it is 0 to 1.

    Source: Clopper & Pearson 1934, as above; two-sided.
    """
    low = _beta_quantile(risk / 2, errors, n - errors + 1) if errors else 0.0
    return low, upper_bound(errors, n, risk / 2)


def _beta_quantile(level: float, a: int, b: int) -> float:
    from scipy.special import betaincinv  # a moment that most processes are spared

    return float(betaincinv(a, b, level))
