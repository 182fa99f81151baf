"""The specialists of a task as one model, and the pass that scores a pool with them.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors.torch import load

from umc_ray.methods.heads import Parameters, forward
from umc_ray.methods.scoring import Scores, acquisition, ensemble_probabilities, score, top_m
from umc_ray.pipeline.capacity import ANY_NODE, Labels
from umc_ray.pipeline.stream import Compute, OnRows, Summary, stream
from umc_ray.records import CANDIDATES, SCORES, Arm, IntArray, Part, embeddings_array
from umc_ray.storage import Storage

BLOCK_ROWS = 16_384
"""Rows that are scored at a time: their probabilities stay in the processor's cache."""


@dataclass(frozen=True)
class EnsembleRef:
    """Names a stored ensemble: models/<task>/<round>, its specialists, and a hash of them all."""

    folder: str
    specialists: tuple[str, ...]
    version: str

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return {"folder": self.folder, "specialists": self.specialists, "version": self.version}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EnsembleRef":
        """Rebuild what `to_json` gave."""
        return cls(value["folder"], tuple(value["specialists"]), value["version"])


class Ensemble:
    """Calibrated specialists; all linear ones are one matrix product."""

    def __init__(self, heads: Sequence[Parameters], temperatures_S: Sequence[float]) -> None:
        self.temperatures_S = torch.tensor(temperatures_S, dtype=torch.float32)
        self.groups = [
            {name: torch.cat([head[name] for head in group]) for name in group[0]}
            for group in _alike(heads)
        ]
        order = [id(head) for group in _alike(heads) for head in group]
        self.order = torch.tensor([order.index(id(head)) for head in heads])

    def probabilities(self, x_ND: npt.NDArray[np.floating]) -> torch.Tensor:
        """Return each specialist's calibrated probabilities, shape SNC."""
        # Converting in torch is five times as fast; it warns of arrays it must not write to.
        x = torch.from_numpy(np.require(x_ND, requirements="W")).float()
        by_group = [forward(group, x) for group in self.groups]
        logits = by_group[0] if len(by_group) == 1 else torch.cat(by_group)[self.order]
        return ensemble_probabilities(logits, self.temperatures_S)


def _alike(heads: Sequence[Parameters]) -> list[list[Parameters]]:
    """Group heads whose parameters have the same shapes."""
    groups: dict[tuple[tuple[str, torch.Size], ...], list[Parameters]] = {}
    for head in heads:
        # Sorted: parameters are loaded in any order.
        groups.setdefault(tuple((k, head[k].shape) for k in sorted(head)), []).append(head)
    return list(groups.values())


@lru_cache(maxsize=8)
def load_ensemble(storage: Storage, ref: EnsembleRef) -> Ensemble:
    """Load a stored ensemble, once per process.

    Raises:
        StoreError: a specialist's files are missing.
    """
    folders = [f"{ref.folder}/{name}" for name in ref.specialists]
    heads = [load(storage.read_bytes(f"{folder}/model.safetensors")) for folder in folders]
    calibrations = [storage.read_json(f"{folder}/calibration.json") for folder in folders]
    return Ensemble(heads, [each["temperature"] for each in calibrations])


@dataclass(frozen=True)
class ScoreWorker:
    """Scores cached features, and keeps the most informative samples nobody was asked about."""

    storage: Storage
    table: str
    ensembles: Mapping[str, EnsembleRef]
    features: Mapping[str, str]
    asked: Mapping[Arm, IntArray]
    acquisition: str
    top: int

    def output_key(self, item: Part) -> str:
        """Name the part's scores."""
        return item.key(f"{self.table}/scores")

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Score a part; its best candidates are written beside, before the scores."""
        task = item.arm.task
        table = self.storage.read_table(item.key(self.features[task]))
        ids_N = table["sample_id"].to_numpy()
        ensemble = load_ensemble(self.storage, self.ensembles[task])
        scores = _scored(ensemble, embeddings_array(table["embedding"]))
        open_N = ~np.isin(ids_N, self.asked[item.arm])
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
    arms: dict[str, dict[str, float]] = {}
    for part, summary in zip(parts, summaries, strict=True):
        if part.split == "pool":
            totals = arms.setdefault(str(part.arm), {"rows": 0, "open": 0, "uncertainty": 0.0})
            for name in totals:
                totals[name] += summary[name]
    for totals in arms.values():
        totals["uncertainty"] /= max(totals["open"], 1)
    return {"rows": sum(summary["rows"] for summary in summaries), "arms": arms}
