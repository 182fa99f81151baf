"""The pass that finds the most informative samples in the gaps of each domain.

The candidates that scoring keeps are the best of the whole pool: few of them may lie in a gap.

Suffixes: N samples, K clusters, D embedding dimension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.methods.clustering import assign
from umc_ray.methods.scoring import top_m
from umc_ray.passes.score import read_features
from umc_ray.records import GAP_CANDIDATES, DomainKey, FloatArray, IntArray, Part
from umc_ray.storage import Storage
from umc_ray.tasks.task import Measures, TaskKind

CANDIDATES_OF_GAPS = "gaps"
"""rounds/<n>/gaps/<part>: the most informative samples of each gap in a part."""


@dataclass(frozen=True)
class GapClusters:
    """The clusters of a domain's pool, and the gap that some of them belong to."""

    centers_KD: FloatArray
    gaps: Mapping[int, str]


@dataclass(frozen=True)
class GapWorker:
    """Keeps the most informative open samples of each gap."""

    storage: Storage
    round: str  # folder of the scores to go by
    domains: Mapping[DomainKey, GapClusters]
    kinds: Mapping[str, TaskKind]
    features: Mapping[str, str]  # by task, the table that selection goes by
    excluded: Mapping[DomainKey, IntArray]
    acquisition: str
    top: int  # of each gap
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, item: Part) -> str:
        """Name the part's candidates."""
        return item.key(f"{self.round}/{CANDIDATES_OF_GAPS}")

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Find the samples of a part that lie in a gap, and keep the best."""
        found, task = self.domains[item.domain_key], item.domain_key.task
        ids_N, features = read_features(self.storage, item, {"": self.features[task]})
        x_ND = features[""].astype(np.float32)
        open_N = np.isfinite(x_ND).all(axis=1) & ~np.isin(ids_N, self.excluded[item.domain_key])
        rows = np.flatnonzero(open_N)
        clusters, _ = assign(torch.from_numpy(x_ND[rows]), torch.from_numpy(found.centers_KD))
        gaps = np.array([found.gaps.get(each, "") for each in clusters.tolist()], dtype=np.str_)
        values_N = self._acquisition(item, self.kinds[task])
        tables = [GAP_CANDIDATES.empty_table()]
        for gap in sorted({*gaps.tolist()} - {""}):
            own = rows[gaps == gap]
            own = own[top_m(values_N[own], ids_N[own], self.top)]
            columns = [*item.places(own, ids_N[own]), pa.array(values_N[own])]
            named = pa.repeat(gap, len(own))
            tables.append(pa.Table.from_arrays([*columns, named], schema=GAP_CANDIDATES))
        return pa.concat_tables(tables), Summary(len(ids_N))

    def _acquisition(self, item: Part, kind: TaskKind) -> FloatArray:
        """Return how informative the newest ensemble found each sample, by its stored scores."""
        rows = self.storage.read_table(item.key(f"{self.round}/scores"))
        columns = {name: torch.tensor(rows[name].to_numpy()) for name in kind.measures_about}
        certainty_N = torch.tensor(kind.predicted(rows)[1], dtype=torch.float32)
        measures = Measures(certainty_N[:, None], columns, certainty_N, certainty_N)
        values_N: FloatArray = kind.acquisition(measures, self.acquisition).numpy()
        return values_N


def find_gap_candidates(
    worker: GapWorker,
    parts: Sequence[Part],
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> int:
    """Find the candidates of all gaps, on the nodes with the labels; returns the rows read."""
    summaries = stream(worker, parts, Compute(labels=labels), on_rows)
    return sum(each.rows for each in summaries)
