"""What the newest ensembles predict for the samples of a batch, as people are shown it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from umc_ray.passes.score import FeatureTables
from umc_ray.records import Part
from umc_ray.selection.labeled import read_embeddings
from umc_ray.specialists.ensemble import EnsembleRef, load_ensemble
from umc_ray.storage import Storage
from umc_ray.tasks.task import Prediction, TaskKind


def batch_predictions(
    storage: Storage,
    ensembles: Mapping[str, EnsembleRef],
    kinds: Mapping[str, TaskKind],
    features: Mapping[str, FeatureTables],
    parts: Sequence[Part],
    batch: pa.Table,
) -> list[Prediction | None]:
    """Return a prediction per row of a batch.

    None where its task has no ensemble yet, or where a specialist has no outputs: heads score
    first, and what may be asked has grown since.
    """
    shown: list[Prediction | None] = [None] * len(batch)
    tasks = np.array(batch["task"].to_pylist(), dtype=np.str_)
    for task, ref in ensembles.items():
        rows = np.flatnonzero(tasks == task)
        if not len(rows):
            continue
        ensemble = load_ensemble(storage, ref, kinds[task])
        own = [part for part in parts if part.domain_key.task == task]
        places = batch.take(pa.array(rows))
        tables = ref.tables(features[task])
        embeddings = {
            name: read_embeddings(storage, own, tables[name], places) for name in ensemble.reads
        }
        known_N = np.all([np.isfinite(x_ND).all(axis=1) for x_ND in embeddings.values()], axis=0)
        rows = rows[known_N]
        probs_SNC = ensemble.probabilities({n: x_ND[known_N] for n, x_ND in embeddings.items()})
        found = ensemble.kind.describe(probs_SNC, ref.specialists, ensemble.decision)
        for row, prediction in zip(rows.tolist(), found, strict=True):
            shown[row] = prediction
    return shown
