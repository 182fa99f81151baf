"""The ways to get answers, and what each of them can do; the classes are in annotation/backends."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class BackendTraits:
    """What a backend can do.

    `knows_answers`: it answers from known labels, so these must be readable.
    `shows_predictions`: people see what the models predict.
    `votes_can_grow`: more answers can be asked for after the first ones came.
    `answered_on_page`: people answer on the page of `umc annotate`.
    """

    knows_answers: bool = False
    shows_predictions: bool = False
    votes_can_grow: bool = False
    answered_on_page: bool = False


BACKENDS: Mapping[str, BackendTraits] = MappingProxyType(
    {
        "replay": BackendTraits(knows_answers=True, votes_can_grow=True),
        "sheet": BackendTraits(),
        "web": BackendTraits(shows_predictions=True, votes_can_grow=True, answered_on_page=True),
        "label_studio": BackendTraits(votes_can_grow=True),
    }
)
