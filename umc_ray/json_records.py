"""Records as JSON: a dataclass, with all that is in it, is written and read as it is declared."""

from functools import lru_cache
from typing import Any, TypeVar

import pydantic

Record = TypeVar("Record")


def to_json(value: object) -> bytes:
    """Write a dataclass, with all that is in it, as JSON."""
    kind: Any = type(value)
    return _adapter(kind).dump_json(value)


def from_json(kind: type[Record], data: bytes) -> Record:
    """Read what `to_json` wrote.

    Raises:
        pydantic.ValidationError: it is not such a record.
    """
    record: Record = _adapter(kind).validate_json(data)  # type: ignore[arg-type]
    return record


def as_values(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a dataclass as JSON values."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:  # noqa: ANN401 - a dataclass
    """Return what turns a dataclass into JSON values and back."""
    return pydantic.TypeAdapter(kind)
