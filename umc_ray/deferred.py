"""torch, imported when it is first used: loading a campaign file must not wait a second for it.

A module that only computes now and then says `from umc_ray.deferred import torch`, and names types
of torch in annotations only, which `from __future__ import annotations` leaves unread.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch as torch
else:

    class _Deferred:
        """Stands for a module until something of it is needed."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> object:
            value: object = getattr(import_module(self._name), attribute)
            setattr(self, attribute, value)  # the next time, it is found without this call
            return value

    torch = _Deferred("torch")
