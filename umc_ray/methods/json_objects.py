"""JSON objects as they were written: Python keeps only the last value of a repeated key."""

from collections.abc import Sequence
from typing import Any

from umc_ray.methods.unicode_text import escaped


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the keys and values of an object; an `object_pairs_hook` of `json.loads`.

    Raises:
        ValueError: a key is given twice, so that one of its values would be lost.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{escaped(repeated)}' is given twice")
    return values
