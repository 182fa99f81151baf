"""Look for the gaps of a domain: compare its labeled samples with a sample of its pool.

Suffixes: N samples of the pool, L labeled samples, M synthetic ones, A audit samples, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray

from umc_ray.diversity.evidence import Attributes, Evidence, gaps_by_clusters, gaps_by_groups
from umc_ray.diversity.gaps import (
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
from umc_ray.ingest.groups import group_names
from umc_ray.methods.diversity import coverage
from umc_ray.methods.gaps import Tree, build_tree, cluster
from umc_ray.methods.gaps import visible_share as share_to_be_seen
from umc_ray.methods.identity import fingerprint
from umc_ray.methods.rarity import lacking
from umc_ray.methods.slices import least_audits
from umc_ray.records import DomainKey, FloatArray, Part
from umc_ray.selection.gather import gather
from umc_ray.selection.labeled import read_embeddings
from umc_ray.selection.reference import sample_pool
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate
from umc_ray.tasks.task import TaskKind

REFERENCE = 5000
"""Samples of a pool that its labeled ones are compared with."""

MOST_PARTS = 50


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
    groups: tuple[str, ...] = ()  # columns of the pool
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
    rows = gather(storage, spec.reference, spec.scores, places)
    evidence = Evidence.of(tree, places, reference_ND, spec.kind.predicted(rows), clusters_L)
    evidence = evidence.with_texts(_texts(spec, storage, places)).with_audits(labels, spec.audits)
    found = [
        *gaps_by_clusters(evidence),
        *gaps_by_groups(evidence, *_groups(spec, storage, places, labels)),
    ]
    return DomainGaps(
        reference=len(reference_ND),
        labeled=len(labels),
        visible_share=share_to_be_seen(len(labels)),
        coverage=_coverage(places, reference_ND, labels, labeled_LD[there_L]),
        centers=key,
        gaps=keep_ids(found, spec.before),
        rare=rare,
        of="target" if spec.target else "pool",
        audits=len(evidence.wrong_A),
        visible_audits=least_audits(evidence.wrong_A, len(tree.nodes_TK)),
        diversity=_diversity(spec, storage, tree, reference_ND, labels, labeled_LD[there_L]),
    )


def _texts(spec: GapSpec, storage: Storage, places: pa.Table) -> list[str] | None:
    """Read the texts of the reference, where its samples are some."""
    if spec.words_in is None:
        return None
    column = gather(storage, spec.reference, "pool", places, [spec.words_in])[spec.words_in]
    return [each or "" for each in column.to_pylist()]


def _groups(
    spec: GapSpec, storage: Storage, places: pa.Table, labels: pa.Table
) -> tuple[Attributes, Attributes]:
    """Read the groups of the reference and of the labeled samples; a target set has none."""
    if not spec.groups or spec.target:
        return {}, {}
    columns = list(spec.groups)
    reference, labeled = (
        group_names(gather(storage, spec.parts, "kept", each, columns)) for each in (places, labels)
    )
    return reference, labeled


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
