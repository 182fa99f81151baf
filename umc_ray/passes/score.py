"""The pass that scores a pool with the ensembles of its tasks.

Suffixes: N samples, D embedding dimension.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.methods.scoring import Scores, acquisition, score, top_m
from umc_ray.records import CANDIDATES, SCORES, DomainKey, IntArray, Part, embeddings_array
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble
from umc_ray.storage import Storage

BLOCK_ROWS = 16_384
"""Rows that are scored at a time: their probabilities stay in the processor's cache."""


@dataclass(frozen=True)
class ScoreWorker:
    """Scores cached features, and keeps the most informative samples nobody was asked about."""

    storage: Storage
    table: str
    ensembles: Mapping[str, EnsembleRef]
    features: Mapping[str, str]
    excluded: Mapping[DomainKey, IntArray]
    acquisition: str
    top: int

    def output_key(self, item: Part) -> str:
        """Name the part's scores."""
        return item.key(f"{self.table}/scores")

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Score a part; its best candidates are written beside, before the scores."""
        task = item.domain_key.task
        table = self.storage.read_table(item.key(self.features[task]))
        ids_N = table["sample_id"].to_numpy()
        ensemble = load_ensemble(self.storage, self.ensembles[task])
        scores = _scored(ensemble, embeddings_array(table["embedding"]))
        open_N = ~np.isin(ids_N, self.excluded[item.domain_key])
        if item.split == "pool" and self.top:
            best = self._candidates(item, ids_N, scores, np.flatnonzero(open_N))
            self.storage.write_table(item.key(f"{self.table}/top"), best)
        top_probs_N = scores.mean_NC.amax(1).numpy()
        summary = {
            "rows": len(ids_N),
            "open": int(open_N.sum()),
            "uncertainty": float((1 - top_probs_N)[open_N].sum(dtype=np.float64)),
        }
        return score_table(ids_N, scores), summary

    def _candidates(self, item: Part, ids_N: IntArray, scores: Scores, rows: IntArray) -> pa.Table:
        values_N = acquisition(scores, self.acquisition).numpy()
        rows = rows[top_m(values_N[rows], ids_N[rows], self.top)]
        columns = [*item.places(rows, ids_N[rows]), pa.array(values_N[rows])]
        return pa.Table.from_arrays(columns, schema=CANDIDATES)


def _scored(ensemble: Ensemble, embeddings_ND: npt.NDArray[np.float16]) -> Scores:
    """Score block by block, so that memory does not grow with the part."""
    blocks = [score(ensemble.probabilities(block)) for block in _blocks(embeddings_ND)]
    if len(blocks) == 1:
        return blocks[0]
    names = Scores.__dataclass_fields__
    return Scores(**{name: torch.cat([getattr(block, name) for block in blocks]) for name in names})


def _blocks(embeddings_ND: npt.NDArray[np.float16]) -> Iterator[npt.NDArray[np.float16]]:
    return (
        embeddings_ND[start : start + BLOCK_ROWS]
        for start in range(0, len(embeddings_ND), BLOCK_ROWS)
    )


def score_table(ids_N: IntArray, scores: Scores) -> pa.Table:
    """Lay scores out as a table of the SCORES schema."""
    probs_N2, labels_N2 = scores.mean_NC.topk(2, dim=1)
    columns = {
        "sample_id": ids_N,
        "confidence": scores.confidence_N,
        "disagreement": scores.disagreement_N,
        "score": scores.score_N,
        "margin": scores.margin_N,
        "entropy": scores.entropy_N,
        "mutual_information": scores.mutual_information_N,
        "label_1": labels_N2[:, 0].to(torch.int16),
        "prob_1": probs_N2[:, 0],
        "label_2": labels_N2[:, 1].to(torch.int16),
        "prob_2": probs_N2[:, 1],
    }
    arrays = [pa.array(np.ascontiguousarray(columns[name])) for name in SCORES.names]
    return pa.Table.from_arrays(arrays, schema=SCORES)


def score_parts(
    worker: ScoreWorker,
    parts: Sequence[Part],
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> dict[str, Any]:
    """Score parts of all tasks in one pass, on the nodes with the labels.

    Returns:
        Per arm (by its name) the rows of its pool, how many of them are open, and the mean
        uncertainty 1 - max p of these.
    """
    summaries = stream(worker, parts, Compute(labels=labels), on_rows)
    domain_keys: dict[str, dict[str, float]] = {}
    for part, summary in zip(parts, summaries, strict=True):
        if part.split == "pool":
            totals = domain_keys.setdefault(
                str(part.domain_key), {"rows": 0, "open": 0, "uncertainty": 0.0}
            )
            for name in totals:
                totals[name] += summary[name]
    for totals in domain_keys.values():
        totals["uncertainty"] /= max(totals["open"], 1)
    return {"rows": sum(summary["rows"] for summary in summaries), "domains": domain_keys}
