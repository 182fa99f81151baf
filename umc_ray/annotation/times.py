"""How long people work on an answer, by domain, and what that makes an answer cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umc_ray.annotation.store import Answer
from umc_ray.methods.costs import expected_seconds
from umc_ray.records import DomainKey


@dataclass(frozen=True)
class AnswerTime:
    """How long an answer of a domain takes: `timed` answers, expected seconds, cost by them."""

    timed: int
    seconds: float
    cost: float


def answer_times(
    answers: Sequence[Answer], costs: Mapping[DomainKey, float]
) -> dict[str, AnswerTime]:
    """Return by domain `timed` answers, expected `seconds`, and the `cost` of an answer by them.

    The measured costs of all timed answers add up to their configured ones: seconds decide how
    domains differ, and not what the campaign's unit is. Empty where no answer was timed. The time
    of a group that was answered as a whole is that of all its answers together.

    Args:
        answers: of a campaign.
        costs: of one answer, as configured, of all domains.
    """
    domain_keys = {domain_key: index for index, domain_key in enumerate(costs)}
    sizes = Counter((each.annotator, each.bulk) for each in answers)
    timed = [
        (
            domain_keys[domain_key],
            each.seconds / (1 if each.bulk is None else sizes[each.annotator, each.bulk]),
        )
        for each in answers
        if each.seconds is not None
        and (domain_key := DomainKey(each.task, each.domain)) in domain_keys
    ]
    if not timed:
        return {}
    domains_N, seconds_N = zip(*timed, strict=True)
    expected = expected_seconds(seconds_N, domains_N, len(domain_keys))
    counts = Counter(domains_N)
    configured = sum(counts[i] * costs[domain_key] for domain_key, i in domain_keys.items())
    per_second = configured / sum(counts[i] * float(expected[i]) for i in counts)
    return {
        str(domain_key): AnswerTime(
            timed=counts[i], seconds=float(expected[i]), cost=float(expected[i]) * per_second
        )
        for domain_key, i in domain_keys.items()
    }
