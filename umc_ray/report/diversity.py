"""How varied the labeled samples are, as the report and the dataset card show it."""

from collections.abc import Iterator
from dataclasses import dataclass

from umc_ray.campaign.history import History
from umc_ray.diversity.measures import DRAWN, Diversity, Imitation
from umc_ray.report.pages import percent
from umc_ray.tasks.quality import Estimate

ALMOST = 0.999
"""As even as is shown where groups are not quite so."""


@dataclass(frozen=True)
class Evenness:
    """How evenly the labels of a task or domain are spread over something."""

    where: str
    over: str
    value: Estimate
    beside: Estimate | None = None  # that of as many random samples


@dataclass(frozen=True)
class DiversitySection:
    """What was measured after the last round; PRDC compares `drawn` samples of each side."""

    evenness: list[Evenness]
    new: dict[str, Estimate]  # by domain
    synthetic: list[tuple[str, str, Imitation]]  # domain, generator
    drawn: int = DRAWN


def diversity_section(history: History) -> DiversitySection | None:
    """Return what the report says of diversity; None if nothing was measured."""
    metrics = history.metrics[-1]
    if not metrics.diversity:
        return None
    over_domains = [
        Evenness(task, "domains", short_of_even(value))
        for task, value in metrics.domain_balance.items()
    ]
    return DiversitySection(
        evenness=over_domains
        + [each for name, found in metrics.diversity.items() for each in _evenness(name, found)],
        new={name: each.new for name, each in metrics.diversity.items() if each.new is not None},
        synthetic=[
            (name, generator, each)
            for name, found in metrics.diversity.items()
            for generator, each in found.synthetic.items()
        ],
    )


def _evenness(name: str, found: Diversity) -> Iterator[Evenness]:
    if found.classes is not None:
        yield Evenness(name, "classes", short_of_even(found.classes))
    if found.clusters is not None:
        yield Evenness(name, "clusters of the pool", found.clusters, found.random_clusters)
    for column, value in found.groups.items():
        yield Evenness(name, f"groups of {column}", short_of_even(value))


def short_of_even(value: Estimate) -> Estimate:
    """Return a figure that is not shown as 100.0 % where groups are not quite even."""
    if value.value == 1:
        return value
    return Estimate(min(value.value, ALMOST), min(value.low, ALMOST), value.high)


def diversity_lines(history: History) -> list[str]:
    """Say for the dataset card how varied the labeled samples are."""
    found = diversity_section(history)
    if found is None:
        return []
    lines = [
        f"{each.where}: spread over {each.over} at {_said(each.value)} of the greatest evenness"
        + (f"; as many random samples: {_said(each.beside)}" if each.beside else "")
        for each in found.evenness
    ]
    lines += [
        f"{name}: {_said(value)} of the last round's samples are unlike all labeled before"
        for name, value in found.new.items()
    ]
    return lines + [
        f"{name}, synthetic samples of {generator}: {_said(each.precision)} are like real ones, "
        f"{_said(each.recall)} of the real ones are like one of them (in draws of {found.drawn}), "
        f"{_said(each.new)} are unlike all labeled ones"
        for name, generator, each in found.synthetic
    ]


def _said(value: Estimate) -> str:
    return f"{percent(value.value)} (95 %: {percent(value.low)} to {percent(value.high)})"
