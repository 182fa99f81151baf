"""The groups of samples, out of the columns that a domain names as `groups`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.errors import DataError
from umc_ray.ingest.answers import is_missing
from umc_ray.records import Part
from umc_ray.storage import Storage
from umc_ray.tasks.task import plain_text

MISSING = "(missing)"
"""The group of samples without a value."""

MOST_GROUPS = 40
"""Values of a column beyond which it does not name groups of people, but people or amounts."""

GroupNames = npt.NDArray[np.str_]


def read_groups(storage: Storage, part: Part, names: Sequence[str]) -> dict[str, GroupNames]:
    """Return the groups of a part's samples, by column.

    Raises:
        StoreError: the part was read without these columns.
    """
    return group_names(storage.read_table(part.key("kept"), list(names)))


def group_names(kept: pa.Table) -> dict[str, GroupNames]:
    """Return the values of columns as names of groups."""
    return {
        name: np.array([group_name(value) for value in kept[name].to_pylist()], dtype=np.str_)
        for name in kept.column_names
    }


def group_name(value: object) -> str:
    """Return the group that a value of a source stands for."""
    return MISSING if is_missing(value) else plain_text(value).strip()


def count_groups(
    storage: Storage, parts: Sequence[Part], names: Sequence[str]
) -> Mapping[tuple[str, ...], int]:
    """Count the samples of each intersection of groups, part by part."""
    found = Counter[tuple[str, ...]]()
    for part in parts:
        groups = read_groups(storage, part, names)
        found.update(zip(*(groups[name].tolist() for name in names), strict=True))
    return found


def check_groups(storage: Storage, parts: Sequence[Part], names: Sequence[str]) -> None:
    """Make sure that columns name groups.

    Raises:
        DataError: one has too many values; says what to do.
    """
    counts = count_groups(storage, parts, names) if names else {}
    for place, name in enumerate(names):
        problem = problem_of_groups(name, {key[place] for key in counts})
        if problem is not None:
            raise DataError(f"groups of {parts[0].domain_key}: {problem}")


def problem_of_groups(name: str, values: Collection[str]) -> str | None:
    """Say what is wrong with a column whose values are too many to be groups."""
    if len(values) <= MOST_GROUPS:
        return None
    return (
        f"column {name!r} has {len(values)} values, such as {', '.join(sorted(values)[:3])}, and "
        f"at most {MOST_GROUPS} groups can be compared: add a column with a few of them to the "
        "source, such as age_band in place of age, and name that"
    )
