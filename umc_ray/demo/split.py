"""Deduplication and a held-out test set, reproducible across machines and library versions."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]


def drop_duplicates(rows: Iterable[Row], content: Callable[[Row], object]) -> list[Row]:
    """Keep the first row of each content, so that pool and test cannot share any."""
    first: dict[object, Row] = {}
    for row in rows:
        first.setdefault(content(row), row)
    return list(first.values())


def hold_out(rows: list[Row], share: float, max_rows: int) -> tuple[list[Row], list[Row]]:
    """Split rows into pool and test, both in the given order.

    The test set has `share` of each label, rounded down; less if it would exceed `max_rows` rows.
    The sha256 of the keys determines which rows: there is no random state.
    """
    share = min(share, max_rows / max(len(rows), 1))
    by_label: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row["key"])
    held = {
        key
        for keys in by_label.values()
        for key in sorted(keys, key=_digest)[: int(share * len(keys))]
    }
    pool = [row for row in rows if row["key"] not in held]
    return pool, [row for row in rows if row["key"] in held]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
