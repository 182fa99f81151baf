"""Parts of a sample of the pool: which have too few labels, and in which are models worse?

Parts are nodes of a tree of clusters, or groups and their intersections. Both tests control the
false discovery rate over all parts, and what is found is disjoint.

Suffixes: N samples of the reference (the pool, or a target set), L labeled samples, A audit
samples, T parts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from umc_ray.methods.gaps import (
    FALSE_DISCOVERY_RATE,
    MOST_LABELED,
    IntArray,
    Tree,
    fewer_than_expected,
    significant,
)

Mask = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slices:
    """Which samples of the reference, labeled samples and audit samples are in each part."""

    inside_TN: Mask
    inside_TL: Mask
    inside_TA: Mask


def slices_of_tree(tree: Tree, labeled_L: IntArray, audits_A: IntArray) -> Slices:
    """Return the nodes of a tree as parts, given the clusters of labeled and audit samples."""
    nodes_TK = tree.nodes_TK
    return Slices(nodes_TK[:, tree.labels_N], nodes_TK[:, labeled_L], nodes_TK[:, audits_A])


def with_few_labels(slices: Slices) -> list[tuple[int, float]]:
    """Return the disjoint parts with too few labels, each with its p-value.

    The same test as that of patterns: less than MOST_LABELED of the labels at their share.
    """
    n, labels = slices.inside_TN.shape[1], slices.inside_TL.shape[1]
    if not n or not labels:
        return []
    inside_T, labeled_T = slices.inside_TN.sum(axis=1), slices.inside_TL.sum(axis=1)
    p_T = fewer_than_expected(labeled_T, labels, inside_T, n)
    few_T = labeled_T < MOST_LABELED * inside_T * labels / n
    return _disjoint(slices.inside_TN, p_T, few_T & significant(p_T, FALSE_DISCOVERY_RATE))


def with_more_errors(slices: Slices, wrong_A: Mask) -> list[tuple[int, float]]:
    """Return the disjoint parts with more wrong audit samples than elsewhere, with p-values.

    Source: Fisher 1922, On the interpretation of chi-squared from contingency tables.
    """
    if not len(wrong_A):
        return []
    p_T = _more_wrong(
        slices.inside_TA.sum(axis=1), slices.inside_TA[:, wrong_A].sum(axis=1), wrong_A
    )
    return _disjoint(slices.inside_TN, p_T, significant(p_T, FALSE_DISCOVERY_RATE))


def least_audits(wrong_A: Mask, parts: int) -> int | None:
    """Return how many audit samples a part needs to be found if all of them are wrong.

    None if no number is enough: too few audit samples are wrong at all.
    """
    k_W = np.arange(1, int(wrong_A.sum()) + 1)
    enough = np.flatnonzero(_more_wrong(k_W, k_W, wrong_A) <= FALSE_DISCOVERY_RATE / max(1, parts))
    return int(k_W[enough[0]]) if len(enough) else None


def _more_wrong(audits_T: IntArray, wrong_T: IntArray, wrong_A: Mask) -> Doubles:
    """Return how likely so many of the wrong audit samples are in a part by chance."""
    from scipy.stats import hypergeom  # takes a moment to import

    p_T: Doubles = hypergeom.sf(wrong_T - 1, len(wrong_A), int(wrong_A.sum()), audits_T)
    return p_T


def _disjoint(inside_TN: Mask, p_T: Doubles, found_T: Mask) -> list[tuple[int, float]]:
    """Return those of the found parts that do not overlap with a more significant one."""
    chosen, taken_N = [], np.zeros(inside_TN.shape[1], np.bool_)
    for part in np.flatnonzero(found_T)[np.argsort(p_T[found_T], kind="stable")].tolist():
        if not (inside_TN[part] & taken_N).any():
            taken_N |= inside_TN[part]
            chosen.append((part, float(p_T[part])))
    return chosen
