"""The labels of a row in formats that allow several: `label` and `labels`.

`label` is what both kinds of classification read: a name, a list of several, or nothing. `labels`
is always a list, so that a row without any says that none fits.
"""

from collections.abc import Mapping, Sequence

COLUMNS = ("label", "labels")


def with_labels(row: Mapping[str, object], labels: Sequence[str]) -> dict[str, object]:
    """Return a row with its labels, each once."""
    names = list(dict.fromkeys(labels))
    one = names[0] if len(names) == 1 else names or None
    return {**row, "label": one, "labels": names}


def without_labels(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of which nobody has said anything."""
    return {**row, "label": None, "labels": None}
