"""What a generator of synthetic samples is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Payload = str | bytes
"""A text, an image as an encoded file, or a row of a table as JSON: as the pool has it."""


@dataclass(frozen=True)
class Exemplar:
    """A real labeled sample that shows what is wanted."""

    sample_id: int
    payload: Payload
    label: str


@dataclass(frozen=True)
class Request:
    """Samples of one label that are wanted for one gap."""

    gap: str
    label: str
    labels: tuple[str, ...]  # all that the task has
    exemplars: tuple[Exemplar, ...]  # of this label first, then of others
    count: int
    seed: int


@dataclass(frozen=True)
class Generated:
    """A synthetic sample, with all that made it."""

    payload: Payload
    label: str  # that it was made for
    exemplars: tuple[int, ...]  # ids of the samples that it was made from
    prompt: str
    seed: int


class Generator(Protocol):
    """Makes samples that are not there; loaded once per process."""

    name: str
    version: str  # of the code and the weights: another version makes other samples

    def generate(self, request: Request) -> Sequence[Generated]:
        """Make at most `request.count` samples; the same request makes the same ones."""
        ...
