"""Acquisition functions of kinds whose measures are not those of class probabilities."""

from umc_ray.deferred import Tensor
from umc_ray.errors import ConfigError
from umc_ray.tasks.task import Measures

ACQUISITIONS = ("margin", "entropy", "score", "least_confidence", "mutual_information")


def by_measures(measures: Measures, name: str, margin_N: Tensor) -> Tensor:
    """Return one of ACQUISITIONS, higher = ask first; `margin_N` is what margin means for a kind.

    Raises:
        ConfigError: there is no such acquisition function.
    """
    if name not in ACQUISITIONS:
        raise ConfigError(f"unknown acquisition {name!r}; known: {', '.join(ACQUISITIONS)}")
    if name == "least_confidence":
        return 1 - measures.certainty_N
    if name == "margin":
        return margin_N
    return -measures.columns[name] if name == "score" else measures.columns[name]
