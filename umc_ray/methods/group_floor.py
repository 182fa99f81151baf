"""A least number of picks for each group. Suffixes: B picks, G groups."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def least_picks(batch: int, floor: float, available_G: Ints) -> Ints:
    """Return the least number of picks of each group: a share of the batch, if so many are there.

    If the floors of all groups are more than the batch, each gets an equal part.
    """
    share = min(floor, 1 / max(len(available_G), 1))
    return np.minimum(int(share * batch), available_G)


def give_way(groups_B: Ints, least_G: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Return which picks stay, and how many more each group is to get in place of the others.

    The last picks give way, as far as their group has more than its least number.

    Args:
        groups_B: the group of each pick, best first; -1: of none that has a floor.
        least_G: sums up to B at most.
    """
    counts_G = np.bincount(groups_B[groups_B >= 0], minlength=len(least_G))
    lacking_G = np.maximum(least_G - counts_G, 0)
    stays_B, to_go = np.ones(len(groups_B), np.bool_), int(lacking_G.sum())
    for pick in reversed(range(len(groups_B))):
        group = groups_B[pick]
        if to_go and (group < 0 or counts_G[group] > least_G[group]):
            stays_B[pick] = False
            counts_G[group] -= group >= 0
            to_go -= 1
    return stays_B, lacking_G
