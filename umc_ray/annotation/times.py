"""Measured working time per answer, by domain, and the cost per answer that follows from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umc_ray.annotation.store import Answer
from umc_ray.methods.costs import expected_seconds
from umc_ray.records import DomainKey


@dataclass(frozen=True)
class AnswerTime:
    """How long an answer of a domain takes: `timed` answers, expected seconds and cost of one."""

    timed: int
    seconds: float
    cost: float


def answer_times(
    answers: Sequence[Answer], costs: Mapping[DomainKey, float]
) -> dict[str, AnswerTime]:
    """Return how long an answer takes, by domain.

    Costs are scaled so that all timed answers together cost what the configured costs say: times
    change only the ratio between domains. Empty if no answer was timed. The time of a group that
    was answered as a whole is divided by its number of answers.

    Args:
        answers: all answers of a campaign.
        costs: configured cost of one answer, for every domain.
    """
    domain_indices = {domain_key: index for index, domain_key in enumerate(costs)}
    group_sizes = Counter((each.annotator, each.bulk) for each in answers)
    timed = [
        (
            domain_indices[domain_key],
            each.seconds / (1 if each.bulk is None else group_sizes[each.annotator, each.bulk]),
        )
        for each in answers
        if each.seconds is not None
        and (domain_key := DomainKey(each.task, each.domain)) in domain_indices
    ]
    if not timed:
        return {}
    domains_N, seconds_N = zip(*timed, strict=True)
    expected = expected_seconds(seconds_N, domains_N, len(domain_indices))
    counts = Counter(domains_N)
    configured = sum(counts[i] * costs[domain_key] for domain_key, i in domain_indices.items())
    cost_per_second = configured / sum(counts[i] * float(expected[i]) for i in counts)
    return {
        str(domain_key): AnswerTime(
            timed=counts[i], seconds=float(expected[i]), cost=float(expected[i]) * cost_per_second
        )
        for domain_key, i in domain_indices.items()
    }
