"""Names of integer classes, out of the schema that Hugging Face datasets keeps in a table."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

UNLABELED = -1  # ClassLabel's number for a row without a label


def class_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    """Return the names of a ClassLabel column, or of a list of them; None if it is none."""
    text = (schema.metadata or {}).get(b"huggingface")
    if column is None or text is None:
        return None
    try:
        feature: Any = json.loads(text)["info"]["features"][column]
        while isinstance(feature, list) or "feature" in feature:
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        names = feature["names"] if feature.get("_type") == "ClassLabel" else None
    except (ValueError, LookupError, TypeError, AttributeError):  # written by something else
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def name_classes(values: dict[str, Any], column: str | None, names: Sequence[str] | None) -> None:
    """Replace the class numbers in a row's column by their names, where there are names."""
    if column is not None and names is not None:
        values[column] = _named(values[column], names)


def _named(value: object, names: Sequence[str]) -> object:
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    if value == UNLABELED:
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
