"""The kinds of generators. A new kind is a file beside this one and a line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Generator

GENERATORS: Mapping[str, Callable[[GeneratorConfig], Generator]] = MappingProxyType({})
"""By the name that a campaign file gives them."""
