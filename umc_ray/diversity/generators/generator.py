"""What a generator of synthetic samples is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from umc_ray.errors import ConfigError
from umc_ray.records import FloatArray

Payload = str | bytes
"""A text, an image as an encoded file, or a row of a table as JSON: as the pool has it."""

Embed = Callable[[Sequence[Payload]], FloatArray]
"""Returns the embeddings ND of samples, as the task's encoder makes them."""


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
    members: tuple[Payload, ...] = ()  # unlabeled samples of the gap, if the pool has any

    @property
    def own(self) -> tuple[Exemplar, ...]:
        """The exemplars of the label."""
        return tuple(each for each in self.exemplars if each.label == self.label)


@dataclass(frozen=True)
class Generated:
    """A synthetic sample, with all that made it."""

    payload: Payload
    label: str  # that it was made for
    exemplars: tuple[int, ...]  # ids of the samples that it was made from
    prompt: str
    seed: int


def as_image(payload: Payload) -> bytes:
    """Return the file of an image.

    Raises:
        ConfigError: the task has texts.
    """
    if isinstance(payload, bytes):
        return payload
    raise ConfigError("this generator makes images, but the task has texts: try language_model")


def as_text(payload: Payload) -> str:
    """Return a text.

    Raises:
        ConfigError: the task has images.
    """
    if isinstance(payload, str):
        return payload
    raise ConfigError("this generator makes texts, but the task has images: try transforms")


class Generator(Protocol):
    """Makes samples that are not there; loaded once per process."""

    def generate(self, request: Request) -> Sequence[Generated]:
        """Make at most `request.count` samples; the same request makes the same ones."""
        ...
