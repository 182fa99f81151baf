"""Which domains get an expert by default: with many domains, those with the most labels.

Each expert learns from all labels and scores all samples. With hundreds of domains they would cost
hundreds of times as much as a generalist, and those of small domains would hardly differ from it;
benchmarks/many_domains.py.
"""

from collections import Counter

from umc_ray.config.task import TaskConfig
from umc_ray.specialists.specialist import Examples

MOST_EXPERTS = 8
"""For each encoder and kind of specialist."""


def without_expert(task: TaskConfig, examples: Examples) -> frozenset[str]:
    """Return the domains of a task that get no expert; specialists that a user named all count."""
    if isinstance(task.specialists, dict):
        return frozenset()
    labels = Counter(examples.real.domains_N.tolist())
    by_labels = sorted(task.domains, key=lambda domain: -labels[domain])
    return frozenset(by_labels[MOST_EXPERTS:])
