"""Look for the gaps of a domain: compare its labeled samples with a sample of its pool.

Suffixes: N samples of the pool, L labeled samples, M synthetic ones, A audit samples, K clusters.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from umc_ray.diversity.gaps import (
    MEMBERS,
    AuditErrors,
    DomainGaps,
    FoundGap,
    Gaps,
    keep_ids,
    read_centers,
    write_centers,
)
from umc_ray.diversity.measures import (
    Diversity,
    cluster_evenness,
    evenness,
    imitations,
    newest_novelty,
)
from umc_ray.methods.diversity import coverage
from umc_ray.methods.gaps import Errors, Gap, Tree, build_tree, cluster, error_in_gap, find_gaps
from umc_ray.methods.gaps import visible_share as share_to_be_seen
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.rarity import lacking
from umc_ray.methods.words import distinguishing_words
from umc_ray.records import DomainKey, FloatArray, IntArray, Part
from umc_ray.selection.labeled import gather, read_embeddings
from umc_ray.selection.reference import sample_pool
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate
from umc_ray.tasks.task import TaskKind

REFERENCE = 5000
"""Samples of a pool that its labeled ones are compared with."""

MOST_PARTS = 50
WORDS = 6
LABELS = 3


@dataclass(frozen=True)
class GapSpec:
    """What is needed to find the gaps of one domain; `parts` are those of its pool."""

    domain_key: DomainKey
    kind: TaskKind
    parts: tuple[Part, ...]
    features: str  # table of the encoder that selection goes by
    scores: str  # table of the newest ensemble's scores
    labels: pa.Table  # of the domain
    audits: AuditErrors | None
    before: tuple[FoundGap, ...] = ()  # of the round before
    seed: int = 0
    words_in: str | None = None  # the column of texts, where the samples are some
    target: tuple[Part, ...] = ()  # what to compare with in place of the pool
    made: tuple[Part, ...] = ()  # of synthetic samples
    synthetic: pa.Table | None = None  # those that models learn from, in the columns of STANDINGS

    @property
    def reference(self) -> tuple[Part, ...]:
        """What the labeled samples are compared with."""
        return self.target or self.parts


def find_all(specs: Sequence[GapSpec], storage: Storage) -> Gaps:
    """Find the gaps of all domains, in parallel."""
    find_one = ray.remote(find)
    found = ray.get([find_one.remote(spec, storage) for spec in specs])
    return Gaps({str(spec.domain_key): each for spec, each in zip(specs, found, strict=True)})


def find(spec: GapSpec, storage: Storage) -> DomainGaps:
    """Find the gaps of one domain; the clusters that they consist of are made once."""
    places, reference_ND = sample_pool(
        storage, spec.reference, spec.features, REFERENCE, MOST_PARTS
    )
    labeled_LD = read_embeddings(storage, spec.parts, spec.features, spec.labels)
    there_L = np.isfinite(labeled_LD).all(axis=1)  # others are forgotten
    labels = spec.labels.filter(pa.array(there_L))
    if len(reference_ND) < 2 or not len(labels):
        return DomainGaps(len(reference_ND), len(labels), 1.0)
    known = spec.kind.counts(labels["label"].to_pylist())
    rare = lacking({label: known.get(label, 0) for label in spec.kind.labels})
    key = _centers_key(spec, places)
    if not storage.exists(key):
        write_centers(storage, key, cluster(reference_ND, spec.seed))
    tree = build_tree(reference_ND, read_centers(storage, key))
    clusters_L = tree.clusters(labeled_LD[there_L])
    gaps = find_gaps(tree, clusters_L)
    evidence = _Evidence.of(spec, storage, tree, places, reference_ND, labels, clusters_L)
    found = [evidence.describe(gap) for gap in gaps]
    return DomainGaps(
        reference=len(reference_ND),
        labeled=len(labels),
        visible_share=share_to_be_seen(len(labels)),
        coverage=_coverage(places, reference_ND, labels, labeled_LD[there_L]),
        centers=key,
        gaps=keep_ids(found, spec.before),
        rare=rare,
        of="target" if spec.target else "pool",
        diversity=_diversity(spec, storage, tree, reference_ND, labels, labeled_LD[there_L]),
    )


@dataclass(frozen=True)
class _Evidence:
    """What is known about the reference and the audit samples of a domain."""

    tree: Tree
    ids_N: IntArray
    places_N: Sequence[tuple[str, int]]
    distance_N: FloatArray  # to the center of the own cluster
    predicted_N: Sequence[str]
    expected_N: FloatArray  # error by the ensemble's own probabilities
    texts_N: Sequence[str] | None
    audit_clusters_A: IntArray
    audit_errors_A: FloatArray

    @classmethod
    def of(
        cls,
        spec: GapSpec,
        storage: Storage,
        tree: Tree,
        places: pa.Table,
        reference_ND: FloatArray,
        labels: pa.Table,
        clusters_L: IntArray,
    ) -> "_Evidence":
        rows = gather(storage, spec.reference, spec.scores, places)
        predicted_N, certainty_N = spec.kind.predicted(rows)
        texts_N = None
        if spec.words_in is not None:
            column = gather(storage, spec.reference, "pool", places, [spec.words_in])
            texts_N = [each or "" for each in column[spec.words_in].to_pylist()]
        audits = spec.audits or AuditErrors([], [])
        cluster_of = dict(zip(labels["sample_id"].to_pylist(), clusters_L.tolist(), strict=True))
        known = [
            pair for pair in zip(audits.ids, audits.errors, strict=True) if pair[0] in cluster_of
        ]
        return cls(
            tree=tree,
            ids_N=places["sample_id"].to_numpy(),
            places_N=list(zip(places["part"].to_pylist(), places["row"].to_pylist(), strict=True)),
            distance_N=np.linalg.norm(reference_ND - tree.centers_KD[tree.labels_N], axis=1),
            predicted_N=predicted_N,
            expected_N=1 - np.asarray(certainty_N, np.float32),
            texts_N=texts_N,
            audit_clusters_A=np.array([cluster_of[each] for each, _ in known], np.int64),
            audit_errors_A=np.array([error for _, error in known], np.float32),
        )

    def describe(self, gap: Gap) -> FoundGap:
        """Say what a gap is, and how good models are in it."""
        inside_N = np.isin(self.tree.labels_N, gap.clusters)
        inside_A = np.isin(self.audit_clusters_A, gap.clusters)
        in_gap = self._errors(inside_N, inside_A)
        everywhere = self._errors(np.ones_like(inside_N), np.ones_like(inside_A))
        error, mean_error = error_in_gap(in_gap, everywhere)
        members_M = np.flatnonzero(inside_N)
        members_M = members_M[np.argsort(self.distance_N[members_M], kind="stable")][:MEMBERS]
        return FoundGap(
            id=fingerprint([int(self.ids_N[members_M[0]])])[:6],
            clusters=gap.clusters,
            share=gap.share,
            expected=gap.expected,
            labeled=gap.labeled,
            p_value=gap.p_value,
            audits=in_gap.n,
            error=error,
            mean_error=mean_error,
            predicted=self._predicted(inside_N),
            words=self._words(inside_N),
            members=self.ids_N[members_M].tolist(),
            places=[self.places_N[row] for row in members_M.tolist()],
        )

    def _errors(self, inside_N: npt.NDArray[np.bool_], inside_A: npt.NDArray[np.bool_]) -> Errors:
        return Errors(
            n=int(inside_A.sum()),
            wrong=float(self.audit_errors_A[inside_A].sum()),
            expected=float(np.nanmean(self.expected_N[inside_N])),
        )

    def _predicted(self, inside_N: npt.NDArray[np.bool_]) -> dict[str, float]:
        counts = Counter(self.predicted_N[row] for row in np.flatnonzero(inside_N).tolist())
        total = counts.total()
        return {label: n / total for label, n in counts.most_common(LABELS)}

    def _words(self, inside_N: npt.NDArray[np.bool_]) -> list[str]:
        if self.texts_N is None:
            return []
        groups = [
            [self.texts_N[row] for row in np.flatnonzero(x).tolist()] for x in (inside_N, ~inside_N)
        ]
        return distinguishing_words(groups, WORDS)[0]


def _coverage(
    places: pa.Table, reference_ND: FloatArray, labels: pa.Table, labeled_LD: FloatArray
) -> Estimate | None:
    """Return how much of what is not labeled the labeled samples cover."""
    ids_L = labels["sample_id"].to_numpy()
    open_ND = reference_ND[~np.isin(places["sample_id"].to_numpy(), ids_L)]
    return Estimate(*coverage(open_ND, labeled_LD)) if len(open_ND) else None


def _diversity(
    spec: GapSpec,
    storage: Storage,
    tree: Tree,
    reference_ND: FloatArray,
    labels: pa.Table,
    labeled_LD: FloatArray,
) -> Diversity:
    """Measure how varied the labeled samples are, and how synthetic ones compare with real ones."""
    known = spec.kind.counts(labels["label"].to_pylist())
    k = len(tree.centers_KD)
    clusters = cluster_evenness(tree.clusters(labeled_LD), tree.labels_N, k) or (None, None)
    return Diversity(
        classes=evenness([known.get(label, 0) for label in spec.kind.labels]),
        clusters=clusters[0],
        random_clusters=clusters[1],
        new=newest_novelty(labeled_LD, labels["round"].to_numpy()),
        synthetic=imitations(_synthetic(spec, storage), labeled_LD, reference_ND),
    )


def _synthetic(spec: GapSpec, storage: Storage) -> dict[str, FloatArray]:
    """Read the embeddings of the synthetic samples, by generator."""
    if spec.synthetic is None or not len(spec.synthetic):
        return {}
    x_MD = read_embeddings(storage, spec.made, spec.features, spec.synthetic)
    names_M = np.array(spec.synthetic["generator"].to_pylist())
    return {str(name): x_MD[names_M == name] for name in np.unique(names_M)}


def _centers_key(spec: GapSpec, places: pa.Table) -> str:
    """Name the clusters of a domain; they are others once its pool has grown."""
    ids = places["sample_id"].to_pylist()
    return f"clusters/{fingerprint([spec.features, spec.seed, ids])}.parquet"
