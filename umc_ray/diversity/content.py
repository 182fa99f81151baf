"""Checks of contents: what nobody may be shown, by blocked words and by a function of the user's.

A function of the user's is named in the campaign file and imported where samples are judged, so its
package must be installed, or on PYTHONPATH, on each node.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from umc_ray.config.generator import FiltersConfig
from umc_ray.diversity.generators.generator import Payload
from umc_ray.errors import ConfigError


class ContentCheck(Protocol):
    """Decides whether people may be shown a sample."""

    def __call__(self, payload: Payload) -> str | None:
        """Return why a sample is refused; None if it may be shown."""
        ...


@dataclass(frozen=True)
class BlockedWords:
    """Refuses texts that match a regular expression, regardless of case."""

    patterns: tuple[str, ...]

    def __call__(self, payload: Payload) -> str | None:
        """Name the first expression that a text matches."""
        if isinstance(payload, bytes):
            return None
        found = (each for each in self.patterns if re.search(each, payload, re.IGNORECASE))
        return next((f"blocked: {pattern}" for pattern in found), None)


@dataclass(frozen=True)
class UnsafeContents:
    """Refuses what a function of the user's finds unsafe."""

    name: str  # package.module:function

    def __call__(self, payload: Payload) -> str | None:
        """Return the function's reason.

        Raises:
            ConfigError: there is no such function, or it does not do what is asked of it.
        """
        function = imported(self.name)
        try:
            reason = function(payload)
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(
                f"refine.unsafe: {self.name} failed: {type(error).__name__}: {error}"
            ) from error
        if reason is not None and (not isinstance(reason, str) or not reason):
            raise ConfigError(
                f"refine.unsafe: {self.name} returned {reason!r:.40}; it must return why a sample "
                "is refused, or None"
            )
        return reason


@cache
def imported(name: str) -> Callable[[Payload], object]:
    """Import a function by its name, such as package.module:function.

    Raises:
        ConfigError: there is no such function here.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever the module does when it is imported
        raise ConfigError(
            f"refine.unsafe: {module} cannot be imported: {type(error).__name__}: {error}; install "
            "it, or put its folder on PYTHONPATH"
        ) from error
    if not callable(found):
        is_what = "no function" if found is not None else "not there"
        raise ConfigError(f"refine.unsafe: {attribute} of {module} is {is_what}")
    function: Callable[[Payload], object] = found
    return function


def content_checks(filters: FiltersConfig, unsafe: str | None) -> tuple[ContentCheck, ...]:
    """Return the checks of a generator's samples, the cheapest first."""
    words = BlockedWords(filters.blocked)
    return (words,) if unsafe is None else (words, UnsafeContents(unsafe))


def first_reason(checks: Sequence[ContentCheck], payload: Payload) -> str | None:
    """Return why a sample is refused; None if it may be shown."""
    return next(filter(None, (check(payload) for check in checks)), None)
