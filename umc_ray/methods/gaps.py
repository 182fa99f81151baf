"""Find gaps: patterns that are rarer among the labeled samples than in the pool.

Clusters of a sample of the pool are joined into a tree. Each node of it is tested: are there fewer
labeled samples in it than chance explains? What is found is kept if the models are worse there.

Suffixes: N samples of the reference (the pool, or a target set), L labeled samples, A audit
samples, D embedding dimension, K clusters, T nodes of the tree.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from umc_ray.methods.clustering import assign, kmeans

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CLUSTERS = 100
ROWS_PER_CLUSTER = 20  # at least
FALSE_DISCOVERY_RATE = 0.05
MOST_LABELED = 0.4  # of the labeled samples that a gap should have
VISIBLE = 30  # labeled samples that a gap should have to be found more often than not
PRIOR_AUDITS = 10.0
"""Audit samples that the models' own estimate of their error in a gap counts as."""

MEAN_PRIOR = 5.0
"""Audit samples that their estimate of the mean error counts as."""


@dataclass(frozen=True)
class Tree:
    """Clusters of the reference and the nodes that join them; a node is a set of clusters."""

    centers_KD: Floats
    labels_N: IntArray
    nodes_TK: Mask

    def clusters(self, x_ND: Floats) -> IntArray:
        """Return the cluster of each sample."""
        return nearest(x_ND, self.centers_KD)

    def count(self, clusters_N: IntArray) -> IntArray:
        """Return how many samples there are in each node, given their clusters."""
        counts_K = np.bincount(clusters_N, minlength=len(self.centers_KD))
        counts_T: IntArray = self.nodes_TK.astype(np.int64) @ counts_K
        return counts_T


@dataclass(frozen=True)
class Gap:
    """A part of the reference with too few labeled samples.

    `share` is the part's share of the reference, `expected` how many labeled samples that would be.
    """

    clusters: tuple[int, ...]
    share: float
    expected: float
    labeled: int
    p_value: float


def cluster(reference_ND: Floats, seed: int) -> Floats:
    """Return the centers KD of clusters of the reference."""
    k = max(2, min(CLUSTERS, len(reference_ND) // ROWS_PER_CLUSTER))
    return kmeans(torch.from_numpy(reference_ND), k, seed=seed).centers_KD


def build_tree(reference_ND: Floats, centers_KD: Floats) -> Tree:
    """Join the clusters of the reference, two at a time, into a tree without its root.

    Source: Ward 1963, Hierarchical grouping to optimize an objective function.
    """
    from scipy.cluster.hierarchy import ward  # takes a moment to import

    nodes = list(np.eye(len(centers_KD), dtype=bool))
    joins = ward(centers_KD.astype(np.float64)) if len(nodes) > 1 else []
    for left, right, *_ in joins[:-1]:
        nodes.append(nodes[int(left)] | nodes[int(right)])
    return Tree(centers_KD, nearest(reference_ND, centers_KD), np.array(nodes))


def nearest(x_ND: Floats, centers_KD: Floats) -> IntArray:
    """Return the cluster of each sample."""
    if not len(x_ND):
        return np.zeros(0, np.int64)
    labels_N, _ = assign(torch.from_numpy(x_ND), torch.from_numpy(centers_KD))
    found: IntArray = labels_N.numpy().astype(np.int64)
    return found


def find_gaps(tree: Tree, labeled_L: IntArray) -> list[Gap]:
    """Return the disjoint nodes with too few labeled samples, the most significant first.

    `labeled_L` are the clusters of the labeled samples. A node is a gap if it has less than
    MOST_LABELED of the labeled samples that it should have, and if a one-sided Fisher test says so
    at the false discovery rate over all nodes.

    Source: Benjamini and Hochberg 1995, Controlling the false discovery rate.
    """
    n, labels = len(tree.labels_N), len(labeled_L)
    if not n or not labels:
        return []
    inside_T, labeled_T = tree.count(tree.labels_N), tree.count(labeled_L)
    expected_T = inside_T * (labels / n)
    p_T = fewer_than_expected(labeled_T, labels, inside_T, n)
    few_T = labeled_T < MOST_LABELED * expected_T
    found_T = few_T & significant(p_T, FALSE_DISCOVERY_RATE)
    gaps, taken_K = [], np.zeros(tree.nodes_TK.shape[1], bool)
    for node in np.flatnonzero(found_T)[np.argsort(p_T[found_T], kind="stable")].tolist():
        clusters_K = tree.nodes_TK[node]
        if (clusters_K & taken_K).any():
            continue
        taken_K |= clusters_K
        gaps.append(
            Gap(
                tuple(np.flatnonzero(clusters_K).tolist()),
                share=float(inside_T[node] / n),
                expected=float(expected_T[node]),
                labeled=int(labeled_T[node]),
                p_value=float(p_T[node]),
            )
        )
    return gaps


def fewer_than_expected(labeled_T: IntArray, labels: int, inside_T: IntArray, n: int) -> Doubles:
    """Return how likely so few of L labeled samples are in a part that has `inside` of N.

    Source: Fisher 1922, On the interpretation of chi-squared from contingency tables.
    """
    from scipy.stats import hypergeom

    p_T: Doubles = hypergeom.cdf(labeled_T, n + labels, labeled_T + inside_T, labels)
    return p_T


def significant(p_T: Doubles, rate: float) -> Mask:
    """Return which tests are significant at a false discovery rate (Benjamini and Hochberg)."""
    order = np.argsort(p_T)
    passed = np.flatnonzero(p_T[order] <= rate * np.arange(1, len(p_T) + 1) / len(p_T))
    found_T = np.zeros(len(p_T), bool)
    found_T[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return found_T


def visible_share(labels: int) -> float:
    """Return the share of the pool that a gap must have to be found more often than not."""
    return min(1.0, VISIBLE / labels) if labels else 1.0


@dataclass(frozen=True)
class Errors:
    """The error of the models in some part: of n audit samples, and as the models expect it."""

    n: int
    wrong: float  # the utility that held-out predictions of the audit samples lack, added up
    expected: float  # mean error by the models' own probabilities


def error_in_gap(gap: Errors, overall: Errors) -> tuple[float, float]:
    """Return the error in a gap and the mean error.

    Few audit samples fall into a gap. The models' own estimate counts as some more, corrected by
    how far their estimate is off overall: samples that are passed over because they are easy are
    told from a pattern that nobody has labeled.
    """
    mean = (overall.wrong + MEAN_PRIOR * overall.expected) / (overall.n + MEAN_PRIOR)
    prior = min(1.0, gap.expected * mean / max(overall.expected, 1e-6))
    return (gap.wrong + PRIOR_AUDITS * prior) / (gap.n + PRIOR_AUDITS), mean
