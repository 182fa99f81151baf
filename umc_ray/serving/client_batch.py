"""A batch of samples that a client sends in one request."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from umc_ray.serving.messages import Sample, SampleError


@dataclass(frozen=True)
class Batch:
    """The samples of a request, with their positions among all."""

    samples: list[tuple[int, Sample]]
    options: dict[str, Any]
    errors: list[SampleError]
    """Of samples that cannot be sent, with their positions among all."""

    @classmethod
    def of(cls, samples: Iterable[tuple[int, Sample]], options: dict[str, Any]) -> Self:
        """Sort out the samples that JSON in UTF-8 cannot hold."""
        valid, errors = [], []
        for position, sample in samples:
            try:
                json.dumps(sample.model_dump(), ensure_ascii=False).encode()
                valid.append((position, sample))
            except UnicodeEncodeError:
                reason = "no Unicode: half a surrogate pair"
                errors.append(SampleError(index=position, id=sample.id, error=reason))
        return cls(valid, options, errors)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the request."""
        dumped = [sample.model_dump(exclude_none=True) for _, sample in self.samples]
        return {"samples": dumped, **self.options}

    def halves(self, reason: str) -> list[Self]:
        """Split what is too large for one request; for one sample, the reason is its error."""
        of = type(self)
        if len(self.samples) == 1:
            ((position, sample),) = self.samples
            error = SampleError(index=position, id=sample.id, error=reason)
            return [of([], self.options, _in_order([*self.errors, error]))]
        middle = len(self.samples) // 2
        start = self.samples[middle][0]
        before = [each for each in self.errors if each.index < start]
        after = [each for each in self.errors if each.index > start]
        return [
            of(self.samples[:middle], self.options, before),
            of(self.samples[middle:], self.options, after),
        ]

    def merge(self, results: Iterable[Any]) -> list[Any]:
        """Give results their positions among all, and add the errors, in order."""
        placed = [
            each.model_copy(update={"index": self.samples[each.index][0]}) for each in results
        ]
        return _in_order([*placed, *self.errors])


def _in_order(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda each: each.index)
