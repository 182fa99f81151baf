"""What is known about a domain's samples, and the gaps that it shows: by count, and by audits.

Suffixes: N samples of the reference (the pool, or a target set), L labeled samples, A audit
samples, M samples in a gap, T parts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.diversity.gaps import MEMBERS, AuditErrors, FoundBy, FoundGap
from umc_ray.methods.gaps import ROWS_PER_CLUSTER, Errors, Tree, error_in_gap, find_gaps
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.intersections import groupings, joined_names
from umc_ray.methods.slices import Slices, slices_of_tree, with_few_labels, with_more_errors
from umc_ray.methods.words import distinguishing_words
from umc_ray.records import FloatArray, IntArray

WORDS = 6
LABELS = 3

Mask = npt.NDArray[np.bool_]
Attributes = Mapping[str, npt.NDArray[np.str_]]
"""By attribute, such as sex, the group of each sample."""


@dataclass(frozen=True)
class Evidence:
    """What is known about the reference, the labeled samples and the audits among them."""

    tree: Tree
    ids_N: IntArray
    places_N: Sequence[tuple[str, int]]
    distance_N: FloatArray  # to the center of the own cluster
    predicted_N: Sequence[str]
    expected_N: FloatArray  # error by the ensemble's own probabilities
    clusters_L: IntArray
    texts_N: Sequence[str] | None = None
    audits_A: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # rows of labels
    errors_A: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def of(
        cls,
        tree: Tree,
        places: pa.Table,
        reference_ND: FloatArray,
        predicted: tuple[Sequence[str], Sequence[float]],
        clusters_L: IntArray,
    ) -> Self:
        """Put together what is known without texts and audits."""
        return cls(
            tree=tree,
            ids_N=places["sample_id"].to_numpy(),
            places_N=list(zip(places["part"].to_pylist(), places["row"].to_pylist(), strict=True)),
            distance_N=np.linalg.norm(reference_ND - tree.centers_KD[tree.labels_N], axis=1),
            predicted_N=predicted[0],
            expected_N=1 - np.asarray(predicted[1], np.float32),
            clusters_L=clusters_L,
        )

    def with_texts(self, texts_N: Sequence[str] | None) -> Self:
        """Add the texts of the reference."""
        return replace(self, texts_N=texts_N)

    def with_audits(self, labels: pa.Table, audits: AuditErrors | None) -> Self:
        """Add the errors of audit samples; those that are not among the labels are forgotten."""
        row_of = {each: row for row, each in enumerate(labels["sample_id"].to_pylist())}
        pairs = [] if audits is None else zip(audits.ids, audits.errors, strict=True)
        known = [(row_of[each], error) for each, error in pairs if each in row_of]
        return replace(
            self,
            audits_A=np.array([row for row, _ in known], np.int64),
            errors_A=np.array([error for _, error in known], np.float32),
        )

    @property
    def wrong_A(self) -> Mask:
        """Which audit samples are more wrong than right."""
        return self.errors_A > 0.5

    def describe(
        self,
        slices: Slices,
        found: tuple[int, float],
        by: FoundBy = "count",
        group: str = "",
        clusters: tuple[int, ...] = (),
    ) -> FoundGap:
        """Say what a part is, and how good models are in it."""
        part, p_value = found
        inside_N = slices.inside_TN[part]
        in_gap = self._errors(inside_N, slices.inside_TA[part])
        everywhere = self._errors(np.ones_like(inside_N), np.ones(len(self.errors_A), np.bool_))
        error, mean_error = error_in_gap(in_gap, everywhere)
        members_M = np.flatnonzero(inside_N)
        members_M = members_M[np.argsort(self.distance_N[members_M], kind="stable")][:MEMBERS]
        share = float(inside_N.mean())
        return FoundGap(
            id=fingerprint([group or int(self.ids_N[members_M[0]])])[:6],
            clusters=clusters,
            share=share,
            expected=share * len(self.clusters_L),
            labeled=int(slices.inside_TL[part].sum()),
            p_value=p_value,
            audits=in_gap.n,
            error=error,
            mean_error=mean_error,
            predicted=self._predicted(inside_N),
            words=self._words(inside_N),
            members=self.ids_N[members_M].tolist(),
            places=[self.places_N[row] for row in members_M.tolist()],
            found_by=by,
            group=group,
        )

    def _errors(self, inside_N: Mask, inside_A: Mask) -> Errors:
        return Errors(
            n=int(inside_A.sum()),
            wrong=float(self.errors_A[inside_A].sum()),
            expected=float(np.nanmean(self.expected_N[inside_N])),
        )

    def _predicted(self, inside_N: Mask) -> dict[str, float]:
        counts = Counter(self.predicted_N[row] for row in np.flatnonzero(inside_N).tolist())
        total = counts.total()
        return {label: n / total for label, n in counts.most_common(LABELS)}

    def _words(self, inside_N: Mask) -> list[str]:
        if self.texts_N is None:
            return []
        groups = [
            [self.texts_N[row] for row in np.flatnonzero(x).tolist()] for x in (inside_N, ~inside_N)
        ]
        return distinguishing_words(groups, WORDS)[0]


def gaps_by_clusters(evidence: Evidence) -> list[FoundGap]:
    """Return the patterns with too few labels, and others in which audits are wrong more often."""
    tree, clusters_L = evidence.tree, evidence.clusters_L
    slices = slices_of_tree(tree, clusters_L, clusters_L[evidence.audits_A])
    clusters = [tuple(np.flatnonzero(nodes_K).tolist()) for nodes_K in tree.nodes_TK]
    part_of = {each: part for part, each in enumerate(clusters)}
    found = [
        evidence.describe(slices, (part_of[gap.clusters], gap.p_value), clusters=gap.clusters)
        for gap in find_gaps(tree, clusters_L)
    ]
    taken = {cluster for gap in found for cluster in gap.clusters}
    return found + [
        evidence.describe(slices, each, "errors", clusters=clusters[each[0]])
        for each in with_more_errors(slices, evidence.wrong_A)
        if taken.isdisjoint(clusters[each[0]])
    ]


def gaps_by_groups(
    evidence: Evidence, reference: Attributes, labeled: Attributes
) -> Iterator[FoundGap]:
    """Yield groups and intersections with too few labels, and those with more wrong audits."""
    if not reference:
        return
    names, slices = slices_of_groups(reference, labeled, evidence.audits_A)
    few = with_few_labels(slices)
    for each in few:
        yield evidence.describe(slices, each, group=names[each[0]])
    taken_N = slices.inside_TN[[part for part, _ in few]].any(axis=0)
    for each in with_more_errors(slices, evidence.wrong_A):
        if not (slices.inside_TN[each[0]] & taken_N).any():
            yield evidence.describe(slices, each, "errors", group=names[each[0]])


def slices_of_groups(
    reference: Attributes, labeled: Attributes, audits_A: IntArray
) -> tuple[list[str], Slices]:
    """Return the groups of each attribute and their intersections as parts, with their names.

    Parts of fewer than ROWS_PER_CLUSTER samples are left out, as small clusters are.
    """
    columns = list(reference)
    names, inside = [], []
    for by, places in groupings(columns).items():
        groups_N = joined_names([reference[columns[i]] for i in places])
        groups_L = joined_names([labeled[columns[i]] for i in places])
        values, counts = np.unique(groups_N, return_counts=True)
        for value in values[counts >= ROWS_PER_CLUSTER].tolist():
            names.append(f"{by}: {value}")
            inside.append((groups_N == value, groups_L == value))
    inside_TN = np.array([each for each, _ in inside]).reshape(len(inside), -1)
    inside_TL = np.array([each for _, each in inside]).reshape(len(inside), -1)
    return names, Slices(inside_TN, inside_TL, inside_TL[:, audits_A])
