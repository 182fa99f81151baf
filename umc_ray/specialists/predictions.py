"""What the specialists think of each sample of a batch, in the words of the annotation page.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from umc_ray.methods.scoring import score
from umc_ray.records import embeddings_array
from umc_ray.specialists.ensemble import EnsembleRef, load_ensemble
from umc_ray.storage import Storage

PREDICTION_FIELDS = (
    "probabilities",
    "specialists",
    "score",
    "margin",
    "disagreement",
    "rank",
    "ranked",
)
"""Of a sample: the ensemble's probability of each label; of each specialist, its label and that
one's probability; the ensemble's score, margin and disagreement (bit); how informative it is: the
`rank`-th, from 1, of the `ranked` ones chosen in its domain."""

Prediction = dict[str, Any]


def batch_predictions(
    storage: Storage,
    ensembles: Mapping[str, EnsembleRef],
    batch: pa.Table,
    classes: Mapping[str, Sequence[str]],
) -> list[Prediction]:
    """Return an opinion per row of a batch; an empty one where its task has no ensemble."""
    found: list[Prediction] = [{} for _ in range(len(batch))]
    tasks = np.array(batch["task"].to_pylist(), dtype=np.str_)
    ranks = _ranks(batch)
    for task, ref in ensembles.items():
        rows = np.flatnonzero(tasks == task)
        if len(rows):
            embeddings_ND = embeddings_array(batch["embedding"].take(pa.array(rows)))
            probs_SNC = load_ensemble(storage, ref).probabilities(embeddings_ND)
            predictions = _predictions(probs_SNC, ref.specialists, classes[task])
            for row, prediction in zip(rows, predictions, strict=True):
                found[row] = prediction | ranks[row]
    return found


def _predictions(
    probs_SNC: torch.Tensor, specialists: Sequence[str], labels: Sequence[str]
) -> list[Prediction]:
    scores = score(probs_SNC)
    best_SN, choice_SN = probs_SNC.max(dim=2)
    return [
        {
            "probabilities": dict(zip(labels, _rounded(scores.mean_NC[i]), strict=True)),
            "specialists": {
                name: [labels[int(choice_SN[s, i])], round(float(best_SN[s, i]), 4)]
                for s, name in enumerate(specialists)
            },
            "score": round(float(scores.score_N[i]), 4),
            "margin": round(float(scores.margin_N[i]), 4),
            "disagreement": round(float(scores.disagreement_N[i]), 4),
        }
        for i in range(probs_SNC.shape[1])
    ]


def _rounded(probs_C: torch.Tensor) -> list[float]:
    return [round(p, 4) for p in probs_C.tolist()]


def _ranks(batch: pa.Table) -> list[Prediction]:
    """Rank the chosen samples of each domain by acquisition; audits, drawn at random, have none."""
    domain_keys: dict[tuple[str, str], list[int]] = {}
    columns = (batch[name].to_pylist() for name in ("task", "domain", "audit", "acquisition"))
    rows = list(zip(*columns, strict=True))
    for i, (task, domain, audit, _) in enumerate(rows):
        if not audit:
            domain_keys.setdefault((task, domain), []).append(i)
    ranks: list[Prediction] = [{} for _ in rows]
    for chosen in domain_keys.values():
        for rank, i in enumerate(sorted(chosen, key=lambda i: -rows[i][3]), start=1):
            ranks[i] = {"rank": rank, "ranked": len(chosen)}
    return ranks
