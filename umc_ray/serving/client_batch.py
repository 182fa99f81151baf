"""A batch of samples that a client sends in one request."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from umc_ray.serving.messages import Sample, SampleError

SAMPLE = TypeAdapter(Sample)


@dataclass(frozen=True)
class Written:
    """A sample as JSON in UTF-8, with its position among all."""

    position: int
    id: str | None
    json: bytes


@dataclass(frozen=True)
class Batch:
    """The samples of a request."""

    samples: list[Written]
    options: dict[str, Any]
    errors: list[SampleError]
    """Of samples that cannot be sent, with their positions among all."""

    @classmethod
    def of(cls, samples: Iterable[tuple[int, Sample]], options: dict[str, Any]) -> Self:
        """Write samples, and sort out those that JSON in UTF-8 cannot hold."""
        valid, errors = [], []
        for position, sample in samples:
            try:
                written = SAMPLE.dump_json(sample, exclude_none=True)
                valid.append(Written(position, sample.id, written))
            except PydanticSerializationError:  # of texts, nothing else can fail
                reason = "no Unicode: half a surrogate pair"
                errors.append(SampleError(index=position, id=sample.id, error=reason))
        return cls(valid, options, errors)

    @property
    def body(self) -> bytes:
        """The body of the request, as JSON."""
        empty = json.dumps({**self.options, "samples": []}).encode()
        samples = b",".join(sample.json for sample in self.samples)
        return b"%b%b]}" % (empty.removesuffix(b"]}"), samples)

    def halves(self, reason: str) -> list[Self]:
        """Split what is too large for one request; for one sample, the reason is its error."""
        of = type(self)
        if len(self.samples) == 1:
            (sample,) = self.samples
            error = SampleError(index=sample.position, id=sample.id, error=reason)
            return [of([], self.options, _in_order([*self.errors, error]))]
        middle = len(self.samples) // 2
        start = self.samples[middle].position
        before = [each for each in self.errors if each.index < start]
        after = [each for each in self.errors if each.index > start]
        return [
            of(self.samples[:middle], self.options, before),
            of(self.samples[middle:], self.options, after),
        ]

    def merge(self, results: Iterable[Any]) -> list[Any]:
        """Give results their positions among all, and add the errors, in order."""
        placed = [
            each.model_copy(update={"index": self.samples[each.index].position}) for each in results
        ]
        return _in_order([*placed, *self.errors])


def _in_order(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda each: each.index)
