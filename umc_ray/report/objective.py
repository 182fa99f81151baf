"""Utility by each possible objective of the allocation, beside the one that was configured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from umc_ray.campaign.history import History
from umc_ray.report.comparison import common_kind, mean, utility_of, weighted_mean
from umc_ray.tasks.quality import Estimate

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "pooled": "all samples count equally",
        "macro": "all domains count equally",
        "worst": "only the worst domain counts",
    }
)


@dataclass(frozen=True)
class ObjectiveSummary:
    """A campaign's mean utility after its last round, by each objective."""

    name: str
    objective: str  # as configured
    labels: int
    pooled: Estimate
    macro: Estimate
    worst: Estimate
    worst_domain: str
    worst_labels: int  # labels of this domain

    @property
    def meaning(self) -> str:
        """What the configured objective means."""
        return MEANINGS[self.objective]


def objective_summary(history: History, names: Sequence[str]) -> ObjectiveSummary | None:
    """Summarize the domains that are measured on the same kind of samples; None without any."""
    kind, measured = common_kind(history.metrics, names)
    domains = {
        domain_key: metrics
        for domain_key, metrics in history.domains.items()
        if str(domain_key) in measured
    }
    if not domains:
        return None
    utilities = [each for metrics in domains.values() if (each := utility_of(metrics, kind))]
    pools = [sum(part.rows for part in history.run.pool(domain_key)) for domain_key in domains]
    worst, worst_key = min(zip(utilities, domains, strict=True), key=lambda pair: pair[0].value)
    return ObjectiveSummary(
        name=history.run.config.name,
        objective=history.run.config.allocation.objective,
        labels=history.metrics[-1].labels,
        pooled=weighted_mean(utilities, pools),
        macro=mean(utilities),
        worst=worst,
        worst_domain=str(worst_key),
        worst_labels=domains[worst_key].labels,
    )
