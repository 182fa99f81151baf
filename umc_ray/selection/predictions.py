"""What the newest ensembles predict for the samples of a batch, as people are shown it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from umc_ray.passes.score import FeatureTables
from umc_ray.records import FloatArray, Part
from umc_ray.selection.labeled import read_embeddings
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble
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
    for task, ref in ensembles.items():
        ensemble = load_ensemble(storage, ref, kinds[task])
        rows, embeddings = _known(storage, ref, ensemble, features[task], parts, batch, task)
        if not len(rows):
            continue
        probs_SNC = ensemble.probabilities(embeddings)
        for domain, own in _by_domain(batch, rows):
            decision = ensemble.decision_in(domain)
            found = ensemble.kind.describe(probs_SNC[:, own], ref.specialists, decision)
            for row, prediction in zip(rows[own].tolist(), found, strict=True):
                shown[row] = prediction
    return shown


def label_probabilities(
    storage: Storage,
    ensembles: Mapping[str, EnsembleRef],
    kinds: Mapping[str, TaskKind],
    features: Mapping[str, FeatureTables],
    parts: Sequence[Part],
    places: pa.Table,
    labels: Sequence[str],
) -> npt.NDArray[np.float64]:
    """Return the probability that the ensembles give a label of each sample; NaN: unknown.

    For a set of labels, that is the probability of exactly this set.
    """
    probability_N = np.full(len(places), np.nan)
    for task, ref in ensembles.items():
        ensemble = load_ensemble(storage, ref, kinds[task])
        rows, embeddings = _known(storage, ref, ensemble, features[task], parts, places, task)
        for domain, own in _by_domain(places, rows):
            targets = torch.from_numpy(kinds[task].encode([labels[row] for row in rows[own]]))
            read = {name: x_ND[own] for name, x_ND in embeddings.items()}
            mean_NC = ensemble.measures(read, domain).mean_NC
            probability_N[rows[own]] = torch.exp(-kinds[task].log_loss(mean_NC, targets)).numpy()
    return probability_N


def _by_domain(
    places: pa.Table, rows: npt.NDArray[np.intp]
) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Return the domains of some rows of one task, and which of the rows are of each."""
    domains = np.array(places["domain"].to_pylist(), dtype=np.str_)[rows]
    for domain in np.unique(domains).tolist():
        yield domain, np.flatnonzero(domains == domain)


def _known(
    storage: Storage,
    ref: EnsembleRef,
    ensemble: Ensemble,
    features: FeatureTables,
    parts: Sequence[Part],
    places: pa.Table,
    task: str,
) -> tuple[npt.NDArray[np.intp], dict[str, FloatArray]]:
    """Return the rows of a task that all specialists can read, and what they read of them."""
    tasks = np.array(places["task"].to_pylist(), dtype=np.str_)
    rows = np.flatnonzero(tasks == task)
    if not len(rows):
        return rows, {}
    own = [part for part in parts if part.domain_key.task == task]
    mine, tables = places.take(pa.array(rows)), ref.tables(features)
    embeddings = {
        name: read_embeddings(storage, own, tables[name], mine) for name in ensemble.reads
    }
    known_N = np.all([np.isfinite(x_ND).all(axis=1) for x_ND in embeddings.values()], axis=0)
    return rows[known_N], {name: x_ND[known_N] for name, x_ND in embeddings.items()}
