"""The pass that scores a pool with the ensembles of its tasks. Suffix: N samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.methods.scoring import top_m
from umc_ray.records import CANDIDATES, DomainKey, IntArray, Part, embeddings_array
from umc_ray.specialists.ensemble import EnsembleRef, load_ensemble
from umc_ray.specialists.specialist import Rows
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
class ScoreWorker:
    """Scores cached features, and keeps the most informative samples that are not excluded."""

    storage: Storage
    table: str
    ensembles: Mapping[str, EnsembleRef]
    kinds: Mapping[str, TaskKind]
    features: Mapping[str, FeatureTables]
    excluded: Mapping[DomainKey, IntArray]
    acquisition: str
    top: int
    with_probabilities: bool = False
    summary_type: ClassVar[type[ScoreSummary]] = ScoreSummary

    def output_key(self, item: Part) -> str:
        """Name the part's scores."""
        return item.key(f"{self.table}/scores")

    def process(self, item: Part) -> tuple[pa.Table, ScoreSummary]:
        """Score a part; its best candidates are written before the scores."""
        task = item.domain_key.task
        kind = self.kinds[task]
        ensemble = load_ensemble(self.storage, self.ensembles[task], kind)
        known = self.ensembles[task].tables(self.features[task])
        tables = {name: known[name] for name in ensemble.reads}
        ids_N, rows = read_features(self.storage, item, tables)
        measures = ensemble.measures(rows)
        open_N = ~np.isin(ids_N, self.excluded[item.domain_key])
        if item.split == "pool" and self.top:
            values_N = kind.acquisition(measures, self.acquisition).numpy()
            best = self._candidates(item, ids_N, values_N, np.flatnonzero(open_N))
            self.storage.write_table(item.key(f"{self.table}/top"), best)
        uncertainty_N = (1 - measures.expected_utility_N.numpy())[open_N]
        uncertainty = float(uncertainty_N.sum(dtype=np.float64))
        summary = ScoreSummary(len(ids_N), int(open_N.sum()), uncertainty)
        table = score_table(kind, ids_N, measures, ensemble.decision)
        if self.with_probabilities:
            table = with_probabilities(kind, table, measures)
        return table, summary

    def _candidates(
        self, item: Part, ids_N: IntArray, values_N: np.ndarray, rows: IntArray
    ) -> pa.Table:
        rows = rows[top_m(values_N[rows], ids_N[rows], self.top)]
        columns = [*item.places(rows, ids_N[rows]), pa.array(values_N[rows])]
        return pa.Table.from_arrays(columns, schema=CANDIDATES)


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
    for field, probs_N in zip(probability_fields(kind), measures.mean_NC.numpy().T, strict=True):
        scores = scores.append_column(field, pa.array(np.ascontiguousarray(probs_N)))
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
