"""The pass that scores a pool with the ensembles of its tasks. Suffix: N samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.ingest.groups import read_groups
from umc_ray.methods.intersections import joined_names
from umc_ray.methods.scoring import top_m
from umc_ray.records import CANDIDATES, DomainKey, IntArray, Part, embeddings_array
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble, load_heads
from umc_ray.specialists.specialist import Rows, outputs_of
from umc_ray.storage import Storage
from umc_ray.tasks.task import Calibration, Measures, TaskKind

PROBABILITY = "probability_"
"""Before a label: the name of the column with its probability."""

FeatureTables = Mapping[str, str]
"""The table of the features of each encoder of a task, by the encoder's name."""


@dataclass(frozen=True)
class DomainScores:
    """What scoring a domain's pool gave; `uncertainty` is the mean over its open samples."""

    rows: int
    open: int
    uncertainty: float


@dataclass(frozen=True)
class PoolScores:
    """What a pass over all pools and tests gave; domains by name."""

    rows: int
    domains: dict[str, DomainScores]


@dataclass(frozen=True)
class ScoreSummary(Summary):
    """What scoring a part gave; `uncertainty` is the sum over its open samples."""

    open: int
    uncertainty: float


@dataclass(frozen=True)
class _Said:
    """What an ensemble says of some rows of a part."""

    rows_N: IntArray
    measures: Measures
    decision: Calibration


@dataclass(frozen=True)
class ScoreWorker:
    """Scores cached features, and keeps the most informative samples that are not excluded.

    In the pools of tasks that are `heads_first`, heads score what fine-tuned specialists have no
    outputs for; candidates are the other samples. Domains in `by_group` keep as many candidates of
    each intersection of these attributes: those of a small group may not be among the best of all.
    Domains in `groups` have intersections with thresholds of their own.
    """

    storage: Storage
    table: str
    ensembles: Mapping[str, EnsembleRef]
    kinds: Mapping[str, TaskKind]
    features: Mapping[str, FeatureTables]
    excluded: Mapping[DomainKey, IntArray]
    acquisition: str
    top: int
    with_probabilities: bool = False
    heads_first: frozenset[str] = frozenset()
    by_group: Mapping[DomainKey, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[DomainKey, Sequence[str]] = field(default_factory=dict)
    summary_type: ClassVar[type[ScoreSummary]] = ScoreSummary

    def output_key(self, item: Part) -> str:
        """Name the part's scores."""
        return item.key(f"{self.table}/scores")

    def process(self, item: Part) -> tuple[pa.Table, ScoreSummary]:
        """Score a part; its best candidates are written before the scores."""
        ref, kind = self._ensemble(item)
        ensemble = load_ensemble(self.storage, ref, kind)
        ids_N, rows = self._read(item, ensemble)
        open_N, whole_N = self._open(item, ids_N), self._whole(item, rows)
        said = self._said(item, ensemble, rows, np.flatnonzero(whole_N))
        if not whole_N.all():
            heads = load_heads(self.storage, ref, kind)
            said += self._said(item, heads, rows, np.flatnonzero(~whole_N))
        if item.split == "pool" and self.top:
            values_N = self._acquisition(kind, said)
            best = self._candidates(item, ids_N, values_N, np.flatnonzero(open_N & whole_N))
            self.storage.write_table(item.key(f"{self.table}/top"), best)
        expected_N = _in_order(said, [x.measures.expected_utility_N.numpy() for x in said])
        uncertainty = float((1 - expected_N)[open_N].sum(dtype=np.float64))
        summary = ScoreSummary(len(ids_N), int(open_N.sum()), uncertainty)
        return self._table(kind, ids_N, said), summary

    def _said(
        self, item: Part, ensemble: Ensemble, rows: Mapping[str, Rows], rows_N: IntArray
    ) -> list[_Said]:
        """Score rows of a part, each group that may have a threshold of its own by itself."""
        domain, attributes = item.domain_key.domain, self.groups.get(item.domain_key)
        if not attributes or item.split == "target" or not len(rows_N):
            return [_said(ensemble, domain, rows, rows_N)]
        groups_N = joined_names(list(read_groups(self.storage, item, attributes).values()))
        return [
            _said(ensemble, domain, rows, rows_N[groups_N[rows_N] == group], group)
            for group in np.unique(groups_N[rows_N]).tolist()
        ]

    def best_by_heads(self, item: Part) -> pa.Table:
        """Return the most informative samples of a part by the heads alone."""
        ref, kind = self._ensemble(item)
        heads = load_heads(self.storage, ref, kind)
        ids_N, rows = self._read(item, heads)
        said = _said(heads, item.domain_key.domain, rows, np.arange(len(ids_N)))
        values_N = self._acquisition(kind, [said])
        return self._candidates(item, ids_N, values_N, np.flatnonzero(self._open(item, ids_N)))

    def _ensemble(self, item: Part) -> tuple[EnsembleRef, TaskKind]:
        task = item.domain_key.task
        return self.ensembles[task], self.kinds[task]

    def _read(self, item: Part, ensemble: Ensemble) -> tuple[IntArray, dict[str, Rows]]:
        task = item.domain_key.task
        known = self.ensembles[task].tables(self.features[task])
        return read_features(self.storage, item, {name: known[name] for name in ensemble.reads})

    def _open(self, item: Part, ids_N: IntArray) -> npt.NDArray[np.bool_]:
        return ~np.isin(ids_N, self.excluded[item.domain_key])

    def _whole(self, item: Part, rows: Mapping[str, Rows]) -> npt.NDArray[np.bool_]:
        """Return which rows the whole ensemble scores."""
        task, whole_N = item.domain_key.task, np.ones(len(next(iter(rows.values()))), np.bool_)
        if item.split == "pool" and task in self.heads_first:
            for name, _ in self.ensembles[task].tuned:
                whole_N &= np.isfinite(rows[outputs_of(name)]).all(axis=1)
        return whole_N

    def _acquisition(self, kind: TaskKind, said: Sequence[_Said]) -> np.ndarray:
        values = [kind.acquisition(each.measures, self.acquisition).numpy() for each in said]
        return _in_order(said, values)

    def _candidates(
        self, item: Part, ids_N: IntArray, values_N: np.ndarray, rows: IntArray
    ) -> pa.Table:
        rows = np.concatenate(
            [own[top_m(values_N[own], ids_N[own], self.top)] for own in self._among(item, rows)]
        )
        rows = np.unique(rows)
        rows = rows[top_m(values_N[rows], ids_N[rows], len(rows))]
        columns = [*item.places(rows, ids_N[rows]), pa.array(values_N[rows])]
        return pa.Table.from_arrays(columns, schema=CANDIDATES)

    def _among(self, item: Part, rows: IntArray) -> list[IntArray]:
        """Return the rows to find the best of: all, and those of each group."""
        attributes = self.by_group.get(item.domain_key)
        if attributes is None:
            return [rows]
        groups_N = joined_names(list(read_groups(self.storage, item, attributes).values()))[rows]
        return [rows, *(rows[groups_N == group] for group in np.unique(groups_N))]

    def _table(self, kind: TaskKind, ids_N: IntArray, said: Sequence[_Said]) -> pa.Table:
        tables = []
        for each in said:
            table = score_table(kind, ids_N[each.rows_N], each.measures, each.decision)
            if self.with_probabilities:
                table = with_probabilities(kind, table, each.measures)
            tables.append(table)
        if len(said) == 1:
            return tables[0]
        order = np.argsort(np.concatenate([each.rows_N for each in said]))
        return pa.concat_tables(tables).take(pa.array(order)).combine_chunks()


def _said(
    ensemble: Ensemble,
    domain: str,
    rows: Mapping[str, Rows],
    rows_N: IntArray,
    group: str | None = None,
) -> _Said:
    if len(rows_N) < len(next(iter(rows.values()))):
        rows = {name: x_ND[rows_N] for name, x_ND in rows.items()}
    measures = ensemble.measures(rows, domain, group)
    return _Said(rows_N, measures, ensemble.decision_in(domain, group))


def _in_order(said: Sequence[_Said], values: Sequence[np.ndarray]) -> np.ndarray:
    """Return values for all rows of a part, in their order."""
    if len(said) == 1:
        return values[0]
    return np.concatenate(values)[np.argsort(np.concatenate([each.rows_N for each in said]))]


def read_features(
    storage: Storage, part: Part, tables: FeatureTables
) -> tuple[IntArray, dict[str, Rows]]:
    """Read the ids of a part's samples and their embeddings by encoder."""
    rows: dict[str, Rows] = {}
    for name, table in tables.items():
        features = storage.read_table(part.key(table))
        rows[name] = embeddings_array(features["embedding"])
    ids_N: IntArray = features["sample_id"].to_numpy()
    return ids_N, rows


def score_schema(kind: TaskKind) -> pa.Schema:
    """Return the columns of rounds/<n>/scores/<task>/<domain>/<part>, a row per sample."""
    measures = [pa.field(name, pa.float32()) for name in kind.measures_about]
    return pa.schema([pa.field("sample_id", pa.int64()), *measures, *kind.prediction_fields])


def score_table(
    kind: TaskKind, ids_N: IntArray, measures: Measures, decision: Calibration
) -> pa.Table:
    """Lay measures and predictions out as a table."""
    columns = [
        pa.array(ids_N),
        *(pa.array(np.ascontiguousarray(measures.columns[n])) for n in kind.measures_about),
        *kind.prediction_columns(measures, decision),
    ]
    return pa.Table.from_arrays(columns, schema=score_schema(kind))


def probability_fields(kind: TaskKind) -> list[pa.Field]:
    """Return a column for each label; none where a kind has no labels."""
    return [pa.field(f"{PROBABILITY}{label}", pa.float32()) for label in kind.labels]


def with_probabilities(kind: TaskKind, scores: pa.Table, measures: Measures) -> pa.Table:
    """Add the probability of each label, the mean over the specialists."""
    for column, probs_N in zip(probability_fields(kind), measures.mean_NC.numpy().T, strict=True):
        scores = scores.append_column(column, pa.array(np.ascontiguousarray(probs_N)))
    return scores


def score_parts(
    worker: ScoreWorker,
    parts: Sequence[Part],
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> PoolScores:
    """Score parts of all tasks in one pass, on the nodes with the labels."""
    summaries = stream(worker, parts, Compute(labels=labels), on_rows)
    by_domain: dict[str, list[ScoreSummary]] = {}
    for part, summary in zip(parts, summaries, strict=True):
        if part.split == "pool":
            by_domain.setdefault(str(part.domain_key), []).append(summary)
    domains = {name: _total(each) for name, each in by_domain.items()}
    return PoolScores(sum(summary.rows for summary in summaries), domains)


def _total(summaries: Sequence[ScoreSummary]) -> DomainScores:
    """Add up the parts of a domain."""
    open_samples = sum(each.open for each in summaries)
    uncertainty = sum(each.uncertainty for each in summaries)
    return DomainScores(
        rows=sum(each.rows for each in summaries),
        open=open_samples,
        uncertainty=uncertainty / max(open_samples, 1),
    )
