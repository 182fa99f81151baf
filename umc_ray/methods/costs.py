"""Estimate the time per answer from recorded times. Suffixes: N answers, A domains."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PRIOR_ANSWERS = 10.0
"""Strength of the shrinkage: each domain gets this many pseudo-answers of the overall mean."""

CLIP_DEVIATIONS = 3.0
"""Times farther than this from the median of their domain are clipped: outliers such as breaks."""

MIN_SECONDS = 0.1


def expected_seconds(
    seconds_N: npt.ArrayLike, domains_N: npt.ArrayLike, domains: int
) -> FloatArray:
    """Return the expected time per answer for each domain, in seconds.

    Times are modeled as log-normal with the same spread in all domains. The location of a domain
    is shrunk towards the overall one, more so with fewer answers. A domain without answers gets
    the overall location.

    Args:
        seconds_N: time spent on each answer; at least one.
        domains_N: the domain of each answer, counted from 0.
        domains: the number of domains.
    """
    log_N = np.log(np.maximum(np.asarray(seconds_N, dtype=np.float64), MIN_SECONDS))
    domain_N: IntArray = np.asarray(domains_N, dtype=np.int64)
    median_A = np.array(
        [np.median(log_N[domain_N == a]) if a in domain_N else 0.0 for a in range(domains)]
    )
    residual_N = log_N - median_A[domain_N]
    limit = CLIP_DEVIATIONS * 1.4826 * float(np.median(np.abs(residual_N)))
    log_N = median_A[domain_N] + np.clip(residual_N, -limit, limit)
    counts_A = np.bincount(domain_N, minlength=domains)
    sums_A = np.bincount(domain_N, weights=log_N, minlength=domains)
    location_A = (sums_A + PRIOR_ANSWERS * log_N.mean()) / (counts_A + PRIOR_ANSWERS)
    mean_A = sums_A / np.maximum(counts_A, 1)
    spread = float(np.mean((log_N - mean_A[domain_N]) ** 2))
    expected_A: FloatArray = np.exp(location_A + spread / 2)
    return expected_A
