"""After each round: how varied the labeled samples are."""

from dataclasses import replace

from umc_ray.campaign.documents import DomainFairness, RoundMetrics
from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.run import Run
from umc_ray.diversity.measures import Diversity, evenness
from umc_ray.records import DomainKey
from umc_ray.tasks.quality import Estimate


def diversity_after(run: Run, number: int) -> dict[str, Diversity]:
    """Return the diversity of each domain's labels, as it was measured beside the search for gaps.

    That of groups comes from their counts, which the measures of fairness hold.
    """
    fairness = run.fairness(number).get(number)
    groups = {} if fairness is None else fairness.domains
    return {
        name: replace(found.diversity, groups=_of_groups(run, name, groups.get(name)))
        for name, found in gaps_after(run, number).domains.items()
        if found.diversity is not None
    }


def _of_groups(run: Run, name: str, found: DomainFairness | None) -> dict[str, Estimate]:
    """Return how evenly labels are spread over the groups of each column, without intersections."""
    columns = run.config.domain(DomainKey.named(name)).groups
    known = {} if found is None else {each.by: each.groups for each in found.representation}
    even = {
        column: evenness([group.labeled for group in known[column]])
        for column in columns
        if column in known
    }
    return {column: each for column, each in even.items() if each is not None}


def domain_balance(metrics: RoundMetrics) -> dict[str, Estimate]:
    """Return how evenly labels are spread over the domains of each task that has several."""
    labels: dict[str, list[int]] = {}
    for name, domain in metrics.domains.items():
        labels.setdefault(DomainKey.named(name).task, []).append(domain.labels)
    even = {task: evenness(counts) for task, counts in labels.items()}
    return {task: each for task, each in even.items() if each is not None}
