"""JSON as it was written, and within bounds: Python keeps only the last value of a repeated key."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from umc_ray.methods.unicode_text import escaped

SHOWN = 100
"""So many characters of a key are in the message."""


MOST_KEYS = 1000
"""Of one object that a client sends."""


class TooManyCommas(ValueError):
    """There are more values than the receiver wants to look at."""


class TooManyKeys(ValueError):
    """An object has more keys than any that is wanted."""


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


def read_bounded(body: bytes, most_commas: int) -> object:
    """Return the value of a text in JSON; commas count those of texts, too.

    A few megabytes of zeros, or of keys, would otherwise become gigabytes of errors, one for each.

    Raises:
        RepeatedKey: a key is given twice.
        TooManyCommas: there are more values than that.
        TooManyKeys: an object has too many.
        ValueError: it is not JSON in UTF-8, or is nested too deeply.
    """
    if body.count(b",") > most_commas:
        raise TooManyCommas(f"the body has more than {most_commas} commas: send less at a time")
    try:
        return json.loads(body.decode(), object_pairs_hook=_bounded_keys)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _bounded_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise TooManyKeys(f"an object has more than {MOST_KEYS} keys")
    return unique_keys(pairs)
