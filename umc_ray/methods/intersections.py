"""Groups of samples: the values of an attribute, or the intersections of several.

Suffixes: N samples, G groups.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

BETWEEN = " × "
OTHER = "other"


@dataclass(frozen=True)
class Groups:
    """Which of G groups each sample belongs to; -1: to one that is too small to be compared."""

    names: tuple[str, ...]
    codes_N: IntArray
    merged: int = 0  # samples of small groups that count together as OTHER
    left_out: int = 0  # samples of small groups that are too few even together

    @property
    def sizes_G(self) -> IntArray:
        """How many samples each group has."""
        return np.bincount(self.codes_N[self.codes_N >= 0], minlength=len(self.names))


def groupings(names: Sequence[str]) -> dict[str, list[int]]:
    """Return what to group by: each of the attributes and, of several, all together at the end."""
    found = {name: [place] for place, name in enumerate(names)}
    if len(names) > 1:
        found[BETWEEN.join(names)] = list(range(len(names)))
    return found


def joined_names(attributes: Sequence[npt.NDArray[np.str_]]) -> npt.NDArray[np.str_]:
    """Return the name of each sample's intersection, such as Female × Black."""
    rows = zip(*(values.tolist() for values in attributes), strict=True)
    return np.array([BETWEEN.join(values) for values in rows], dtype=np.str_)


def intersect(attributes: Sequence[npt.NDArray[np.str_]], smallest: int) -> Groups:
    """Group samples by all attributes together, in the order of the names.

    Groups of fewer than `smallest` samples become one, OTHER; if that has too few as well, its
    samples are left out. A group that is called OTHER already takes them in.
    """
    named_N = joined_names(attributes)
    names, codes_N, counts = np.unique(named_N, return_inverse=True, return_counts=True)
    small_N = (counts < smallest)[codes_N]
    named_N = np.where(small_N, OTHER, named_N)
    left_out_N = small_N & (np.count_nonzero(named_N == OTHER) < smallest)
    names, codes = np.unique(named_N[~left_out_N], return_inverse=True)
    codes_N = np.full(len(named_N), -1, np.int64)
    codes_N[~left_out_N] = codes
    left_out = int(left_out_N.sum())
    return Groups(tuple(names.tolist()), codes_N, int(small_N.sum()) - left_out, left_out)


def count_by_group(
    pool: Mapping[tuple[str, ...], int],
    labeled: Mapping[tuple[str, ...], int],
    places: Sequence[int],
    smallest: int,
) -> dict[str, tuple[int, int]]:
    """Count the samples of each group: those with a label, and all of the pool.

    Groups of fewer than `smallest` samples of the pool become one, OTHER, which is left out if it
    has too few as well.

    Args:
        pool: how many samples have these values of all attributes.
        labeled: how many of them have a label.
        places: which of the attributes make the groups.
        smallest: see above.
    """

    def totals(counts: Mapping[tuple[str, ...], int]) -> Counter[str]:
        found = Counter[str]()
        for values, n in counts.items():
            found[BETWEEN.join(values[place] for place in places)] += n
        return found

    in_pool, with_label = totals(pool), totals(labeled)
    found: dict[str, tuple[int, int]] = {}
    for name, n in sorted(in_pool.items()):
        group = name if n >= smallest else OTHER
        labels, samples = found.get(group, (0, 0))
        found[group] = (labels + with_label[name], samples + n)
    return {name: counts for name, counts in found.items() if counts[1] >= smallest}
