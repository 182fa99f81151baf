"""The kinds of specialists. A new kind is a file beside this one and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from umc_ray.specialists.fine_tuned import TUNINGS, FineTuned
from umc_ray.specialists.heads import Head
from umc_ray.specialists.memory import Memory
from umc_ray.specialists.specialist import Specialist
from umc_ray.specialists.trees import Trees

SPECIALISTS: Mapping[str, type[Specialist]] = MappingProxyType(
    {"linear": Head, "mlp": Head, "trees": Trees, "memory": Memory}
    | dict.fromkeys(TUNINGS, FineTuned)
)
"""By the name that a campaign file gives it."""
