"""Rows of a table as vectors: what is learned from a pool, and how a row becomes numbers.

A number is standardized by the median and the middle 90 % of the pool, and it is laid over ramps
between quantiles, so that a linear head can bend. A category is one-hot. Nothing grows beyond
CLIP, so an outlier neither breaks float16 nor outweighs the other columns.

Source: Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning
(piecewise linear encoding).

Suffixes: N rows, E edges, W numbers of a column, D all numbers of a row.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from umc_ray.errors import DataError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Parsed = TypeVar("Parsed")

MISSING = frozenset({"", "?", "na", "n/a", "nan", "nat", "null", "none"})
"""What stands for no value, in any case."""

READABLE = 0.98
"""The share of values that must be numbers, or dates, for a column to be one of these."""

BINS = 8
CLIP = 4.0
TAIL = 0.02
"""Share of the values at each end that no edge reaches."""
LARGEST = 1e30
"""Larger numbers are taken for this one, so that no square overflows."""
MIDDLE_90 = 3.29
"""Standard deviations that the middle 90 % of a normal distribution take."""

CATEGORIES = 64
MIN_SHARE = 0.001
MIN_COUNT = 2
"""A category counts from here on; so no value of a single row is stored."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, or of dates as days."""

    name: str
    kind: Literal["number", "date"]
    center: float
    scale: float
    edges: tuple[float, ...]
    flags_missing: bool

    @property
    def width(self) -> int:
        """Return W."""
        return 1 + max(len(self.edges) - 1, 0) + self.flags_missing

    def encode(self, values: Sequence[str]) -> Floats:
        """Return the value, its ramps, and 1 if it is missing, shape NW; missing: the median."""
        x_N = _parsed(values, NUMBERS[self.kind])
        missing_N = np.isnan(x_N)
        x_N = np.where(missing_N, self.center, x_N)[:, None]
        low_E, high_E = np.array(self.edges[:-1]), np.array(self.edges[1:])
        with np.errstate(over="ignore"):  # of a tiny scale, then clipped
            parts = [np.clip((x_N - self.center) / self.scale, -CLIP, CLIP)]
            if len(self.edges) > 1:
                parts.append(np.clip((x_N - low_E) / (high_E - low_E), 0.0, 1.0))
        if self.flags_missing:
            parts.append(missing_N[:, None])
        return np.hstack(parts).astype(np.float32)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories; all rare ones are one."""

    name: str
    categories: tuple[str, ...]
    has_rare: bool
    flags_missing: bool

    @property
    def width(self) -> int:
        """Return W."""
        return len(self.categories) + self.has_rare + self.flags_missing

    def encode(self, values: Sequence[str]) -> Floats:
        """Return 1 for the category, or for a rare or a missing one, shape NW."""
        place = {category: i for i, category in enumerate(self.categories)}
        rare = len(place) if self.has_rare else -1
        missing = len(place) + self.has_rare if self.flags_missing else -1
        places_N = np.array([missing if is_missing(v) else place.get(v, rare) for v in values])
        one_hot_NW: Floats = (places_N[:, None] == np.arange(self.width)).astype(np.float32)
        return one_hot_NW


@dataclass(frozen=True)
class TableFit:
    """What is learned from a pool of table rows."""

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @property
    def names(self) -> frozenset[str]:
        """The columns that are read."""
        return frozenset(column.name for column in self.columns)

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Floats:
        """Return the rows as vectors ND; a column that a row lacks is missing."""
        parts = [
            column.encode([row.get(column.name, "") for row in rows]) for column in self.columns
        ]
        return np.hstack(parts)


def is_missing(value: str) -> bool:
    """Return whether a value stands for none."""
    return value.casefold() in MISSING


def fit_table(rows: Sequence[Mapping[str, str]]) -> TableFit:
    """Learn the columns of a pool; those that are the same in all rows are left out.

    Raises:
        DataError: no column differs between the rows.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [_fit_column(name, [row.get(name, "") for row in rows]) for name in names]
    varying = tuple(column for column in columns if column is not None)
    if not varying:
        found = ", ".join(names) or "none"
        raise DataError(
            f"no column of a table tells the {len(rows)} samples apart; columns found: {found}. "
            "Name the columns of the source in columns: of the domain"
        )
    return TableFit(varying)


def _fit_column(name: str, values: Sequence[str]) -> NumberColumn | CategoryColumn | None:
    known = [value for value in values if not is_missing(value)]
    flags_missing = 0 < len(known) < len(values)
    for kind, read in NUMBERS.items():
        x_N = _parsed(known, read)
        read_N = x_N[~np.isnan(x_N)]
        if len(read_N) and len(read_N) >= READABLE * len(known):
            unread = len(read_N) < len(known)
            return _number_column(name, kind, read_N, flags_missing or unread)
    return _category_column(name, known, flags_missing)


def _number_column(
    name: str, kind: Literal["number", "date"], x_N: Doubles, flags_missing: bool
) -> NumberColumn | None:
    low, center, high = np.quantile(x_N, [0.05, 0.5, 0.95]).tolist()
    scale = (high - low) / MIDDLE_90 or float(x_N.std())
    edges = _edges(x_N)
    if not scale and not flags_missing:
        return None
    return NumberColumn(name, kind, center, scale or 1.0, edges, flags_missing)


def _edges(x_N: Doubles) -> tuple[float, ...]:
    """Return the ends of the ramps: frequent values, and quantiles of all others."""
    values, counts = np.unique(x_N, return_counts=True)
    frequent = values[counts >= max(len(x_N) / BINS, MIN_COUNT)]
    others_N = x_N[~np.isin(x_N, frequent)]
    inner = np.linspace(TAIL, 1 - TAIL, BINS + 1)
    spread = np.quantile(others_N, inner) if len(others_N) > 1 else others_N
    edges = np.unique(np.concatenate([frequent, spread]))
    return tuple(edges.tolist()) if len(edges) > 1 else ()


def _category_column(name: str, known: Sequence[str], flags_missing: bool) -> CategoryColumn | None:
    least = max(MIN_COUNT, MIN_SHARE * len(known))
    counts = Counter(known)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    frequent = tuple(value for value in ordered if counts[value] >= least)[:CATEGORIES]
    has_rare = len(frequent) < len(counts)
    column = CategoryColumn(name, frequent, has_rare, flags_missing)
    return column if column.width > 1 else None


def _parsed(values: Sequence[str], read: Callable[[str], float]) -> Doubles:
    """Return values as numbers; NaN where one is missing or cannot be read."""
    return np.array([_or_nan(value, read) for value in values], np.float64)


def _or_nan(value: str, read: Callable[[str], float]) -> float:
    if is_missing(value):
        return math.nan
    try:
        number = read(value)
    except ValueError:
        return math.nan
    return min(max(number, -LARGEST), LARGEST) if math.isfinite(number) else math.nan


def _days(value: str) -> float:
    """Return a date or a time in ISO format as days; one without a zone is taken as UTC."""
    read = datetime.fromisoformat(value)
    read = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    return read.timestamp() / 86_400


NUMBERS: Mapping[Literal["number", "date"], Callable[[str], float]] = {
    "number": float,
    "date": _days,
}
"""How the text of a value is read; the first that fits a column is taken."""
