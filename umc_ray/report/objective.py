"""What the allocation of a campaign was asked for, and how good it is by each thing it could be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from umc_ray.campaign.history import History
from umc_ray.report.comparison import Estimate, estimate, measured_alike, weighted_mean

COUNTS: Mapping[str, str] = MappingProxyType(
    {
        "pooled": "all samples count alike",
        "macro": "all domains count alike",
        "worst": "the worst domain counts",
    }
)


@dataclass(frozen=True)
class Standing:
    """A campaign's accuracy after its last round, by each objective."""

    name: str
    objective: str  # what was asked for
    labels: int
    pooled: Estimate
    macro: Estimate
    worst: Estimate
    worst_domain: str
    worst_labels: int  # of all labels, those of this domain

    @property
    def counts(self) -> str:
        """Say what the objective means."""
        return COUNTS[self.objective]


def standing(history: History, names: Sequence[str]) -> Standing | None:
    """Sum up the domains named, as far as they are measured alike; None if none is measured."""
    kind, alike = measured_alike(history.metrics, names)
    domain_keys = {
        domain_key: found
        for domain_key, found in history.domain_keys.items()
        if str(domain_key) in alike
    }
    if not domain_keys:
        return None
    accuracies = [estimate(found[kind]) for found in domain_keys.values()]
    pools = [sum(part.rows for part in history.run.pool(domain_key)) for domain_key in domain_keys]
    worst, domain_key = min(
        zip(accuracies, domain_keys, strict=True), key=lambda each: each[0].value
    )
    return Standing(
        name=history.run.config.name,
        objective=history.run.config.allocation.objective,
        labels=history.metrics[-1]["labels"],
        pooled=weighted_mean(accuracies, pools),
        macro=weighted_mean(accuracies, [1] * len(accuracies)),
        worst=worst,
        worst_domain=str(domain_key),
        worst_labels=domain_keys[domain_key]["labels"],
    )
