"""Duplicates out, then a held-out test set: reproducible on any machine and library version."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]


def drop_duplicates(rows: Iterable[Row], content: Callable[[Row], object]) -> list[Row]:
    """Keep the first row of each content, so that no content can be in both pool and test."""
    first: dict[object, Row] = {}
    for row in rows:
        first.setdefault(content(row), row)
    return list(first.values())


def hold_out(rows: list[Row], share: float, most: int) -> tuple[list[Row], list[Row]]:
    """Divide rows into pool and test, both in the order given.

    The test set takes `share` of each label, rounded down, and less where it would grow
    beyond `most` rows. Which rows, is decided by the sha256 of their keys: no random state.
    """
    share = min(share, most / max(len(rows), 1))
    by_label: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row["key"])
    held = {
        key
        for keys in by_label.values()
        for key in sorted(keys, key=_shuffled)[: int(share * len(keys))]
    }
    pool = [row for row in rows if row["key"] not in held]
    return pool, [row for row in rows if row["key"] in held]


def _shuffled(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
