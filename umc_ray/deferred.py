"""torch, imported when it is first used: loading a campaign file must not wait a second for it.

A module that is imported with the campaign and only computes later says
`from umc_ray.deferred import Tensor, torch`; `Tensor` is for annotations.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch as torch
    from torch import Tensor as Tensor
else:

    class _Deferred:
        """Stands for a module until something of it is needed."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> object:
            value = getattr(import_module(self._name), attribute)
            setattr(self, attribute, value)  # the next time, it is found without this call
            return value

        def __reduce__(self) -> str:
            return self._name  # workers have their own

    class Tensor:
        """Stands for torch.Tensor in annotations, which nothing reads when umc_ray runs."""

    torch = _Deferred("torch")
