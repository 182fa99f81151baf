"""Rows of a table as texts: one readable line for each column, such as `age: 39`.

So a row is shown, labeled, stored, served and released as any text is. An encoder of kind table
reads it back.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

from umc_ray.ingest.sources import BadRow

_SINGLE_MAX = float(np.finfo(np.float32).max)
_EXACT = 2**53
"""Below, a float that is a whole number is just that."""


def row_text(columns: Sequence[str], values: Mapping[str, Any]) -> str:
    """Write the columns of a row, in their order; a missing value is empty after the colon.

    Raises:
        BadRow: no column has a value, or one has a value that does not fit in a line.
    """
    shown = {name: _shown(name, values.get(name)) for name in columns}
    if not any(shown.values()):
        raise BadRow("empty row", f"no value in {', '.join(columns)}")
    return "\n".join(f"{name}: {value}" if value else f"{name}:" for name, value in shown.items())


def _shown(name: str, value: object) -> str:
    """Return a value as one line; empty if it is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, str | int | Decimal | date | datetime | time):
        return " ".join(str(value).splitlines()).strip()
    raise BadRow("wrong type", f"column {name} is {type(value).__name__}")


def _decimal(value: float) -> str:
    """Return a float as people write it: 39, not 39.0, and 0.1 also if a file stores 32 bits."""
    if not math.isfinite(value):
        return ""
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    single = np.float32(value) if abs(value) < _SINGLE_MAX else np.float32(0)
    return str(single) if float(single) == value else repr(value)
