"""What an answer costs, learned from how long people took. Suffixes: N answers, A domains."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PRIOR_ANSWERS = 10.0
"""An domain counts as if so many of its answers had taken as long as all domains' do."""

FENCE = 3.0
"""Times this many deviations from their domain's median are taken for that: a coffee break."""

LEAST_S = 0.1


def expected_seconds(
    seconds_N: npt.ArrayLike, domains_N: npt.ArrayLike, domains: int
) -> FloatArray:
    """Return the mean time of an answer of each domain, as far as the times tell.

    Times are taken for log-normal, with one spread for all domains; each domain's location is
    shrunk towards that of all, the more the fewer answers it has. A domain without answers gets
    the location of all.

    Args:
        seconds_N: at work on each answer; one at least.
        domains_N: the domain of each answer, from 0.
        domains: how many domains there are.
    """
    log_N = np.log(np.maximum(np.asarray(seconds_N, dtype=np.float64), LEAST_S))
    domain_N: IntArray = np.asarray(domains_N, dtype=np.int64)
    middle_A = np.array(
        [np.median(log_N[domain_N == a]) if a in domain_N else 0.0 for a in range(domains)]
    )
    off_N = log_N - middle_A[domain_N]
    fence = FENCE * 1.4826 * float(np.median(np.abs(off_N)))
    log_N = middle_A[domain_N] + np.clip(off_N, -fence, fence)
    counts_A = np.bincount(domain_N, minlength=domains)
    sums_A = np.bincount(domain_N, weights=log_N, minlength=domains)
    location_A = (sums_A + PRIOR_ANSWERS * log_N.mean()) / (counts_A + PRIOR_ANSWERS)
    own_A = sums_A / np.maximum(counts_A, 1)
    spread = float(np.mean((log_N - own_A[domain_N]) ** 2))
    expected_A: FloatArray = np.exp(location_A + spread / 2)
    return expected_A
