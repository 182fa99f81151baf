"""The kinds of tasks. A new kind is a file beside this one and a line here."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from umc_ray.errors import ConfigError
from umc_ray.records import LearnedFrom
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.generation import Generation
from umc_ray.tasks.multi_label import MultiLabel
from umc_ray.tasks.regression import Regression
from umc_ray.tasks.task import TaskKind

KINDS: Mapping[str, Callable[..., TaskKind]] = MappingProxyType(
    {kind.name: kind for kind in (Classification, MultiLabel, Regression, ExtractiveQA, Generation)}
)


def learned_from(name: str) -> LearnedFrom:
    """Return what models learn a kind from; of one that is not known, as most."""
    found: LearnedFrom = getattr(KINDS.get(name), "learned_from", "embedding")
    return found


def task_kind(name: str, labels: tuple[str, ...], **options: object) -> TaskKind:
    """Return a kind of task with the label space of a task, and what else the kind asks for.

    Raises:
        ConfigError: there is no such kind.
        ValueError: the labels or options do not fit the kind.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown kind {name!r}; known: {', '.join(KINDS)}")
    known = inspect.signature(KINDS[name]).parameters
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"a task of kind {name} has no {' and no '.join(unknown)}; leave it out")
    return KINDS[name](labels, **options)
