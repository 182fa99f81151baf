"""JSON objects as they were written: Python keeps only the last value of a repeated key."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from umc_ray.methods.unicode_text import escaped

SHOWN = 100
"""So many characters of a key are in the message."""


class RepeatedKey(ValueError):
    """A key is given twice, so that one of its values would be lost."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key '{escaped(key[:SHOWN])}' is given twice")
        self.key = key

    def to_client(self, known: Collection[str]) -> str:
        """Say so to a client; a key that it made up is not named."""
        return str(self) if self.key in known else "a key that is unknown here is given twice"


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the keys and values of an object; an `object_pairs_hook` of `json.loads`.

    Raises:
        RepeatedKey: a key is given twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise RepeatedKey(next(key for key, count in counts.items() if count > 1))
    return values
