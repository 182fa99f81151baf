"""The pass that finds the most informative samples of what each domain lacks.

The candidates that scoring keeps are the best of the whole pool: few of them may be of that kind.

Suffixes: N samples, K clusters, D embedding dimension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
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

Mask = npt.NDArray[np.bool_]

CANDIDATES_OF_GAPS = "gaps"
"""rounds/<n>/gaps/<part>: the most informative samples of a part, of each."""


@dataclass(frozen=True)
class GapsOfDomain:
    """What a domain lacks, by name: patterns of its pool, as clusters of it, and classes."""

    centers_KD: FloatArray | None  # None: there are no patterns
    patterns: Mapping[int, str]  # the name of the one that a cluster belongs to
    classes: Mapping[str, str]  # the name of each rare class


@dataclass(frozen=True)
class GapWorker:
    """Keeps the most informative open samples of each pattern and class that is lacking."""

    storage: Storage
    round: str  # folder of the scores to go by
    domains: Mapping[DomainKey, GapsOfDomain]
    kinds: Mapping[str, TaskKind]
    features: Mapping[str, str]  # by task, the table that selection goes by
    excluded: Mapping[DomainKey, IntArray]
    acquisition: str
    top: int  # of each
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, item: Part) -> str:
        """Name the part's candidates."""
        return item.key(f"{self.round}/{CANDIDATES_OF_GAPS}")

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Find the samples of a part that may be what its domain lacks, and keep the best."""
        lacks, kind = self.domains[item.domain_key], self.kinds[item.domain_key.task]
        scores = self.storage.read_table(item.key(f"{self.round}/scores"))
        ids_N: IntArray = scores["sample_id"].to_numpy()
        values_N = self._acquisition(scores, kind)
        open_N = np.isfinite(values_N) & ~np.isin(ids_N, self.excluded[item.domain_key])
        inside = {
            name: kind.may_have(scores, label) & open_N for label, name in lacks.classes.items()
        }
        inside |= self._in_patterns(item, lacks, open_N)
        tables = [GAP_CANDIDATES.empty_table()]
        for name, inside_N in inside.items():
            own = np.flatnonzero(inside_N)
            own = own[top_m(values_N[own], ids_N[own], self.top)]
            columns = [*item.places(own, ids_N[own]), pa.array(values_N[own])]
            named = pa.repeat(name, len(own))
            tables.append(pa.Table.from_arrays([*columns, named], schema=GAP_CANDIDATES))
        return pa.concat_tables(tables), Summary(len(ids_N))

    def _in_patterns(self, item: Part, lacks: GapsOfDomain, open_N: Mask) -> dict[str, Mask]:
        """Return which open samples lie in each pattern."""
        if lacks.centers_KD is None:
            return {}
        _, features = read_features(self.storage, item, {"": self.features[item.domain_key.task]})
        rows = np.flatnonzero(open_N)
        x_ND = features[""][rows].astype(np.float32)
        clusters, _ = assign(torch.from_numpy(x_ND), torch.from_numpy(lacks.centers_KD))
        found_N = np.full(len(open_N), "", dtype=object)
        found_N[rows] = [lacks.patterns.get(each, "") for each in clusters.tolist()]
        return {name: found_N == name for name in sorted({*lacks.patterns.values()})}

    def _acquisition(self, scores: pa.Table, kind: TaskKind) -> FloatArray:
        """Return how informative the newest ensemble found each sample, by its stored scores."""
        columns = {name: torch.tensor(scores[name].to_numpy()) for name in kind.measures_about}
        certainty_N = torch.tensor(kind.predicted(scores)[1], dtype=torch.float32)
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
