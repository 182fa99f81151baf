"""The kinds of tasks. A new kind is a file beside this one and a line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from umc_ray.errors import ConfigError
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.multi_label import MultiLabel
from umc_ray.tasks.task import TaskKind

KINDS: Mapping[str, Callable[[tuple[str, ...]], TaskKind]] = MappingProxyType(
    {kind.name: kind for kind in (Classification, MultiLabel, ExtractiveQA)}
)


def task_kind(name: str, labels: tuple[str, ...]) -> TaskKind:
    """Return a kind of task with the label space of a task.

    Raises:
        ConfigError: there is no such kind.
        ValueError: the labels do not fit the kind.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown kind {name!r}; known: {', '.join(KINDS)}")
    return KINDS[name](labels)
