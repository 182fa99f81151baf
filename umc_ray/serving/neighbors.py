"""The labeled samples nearest to a new one.

Suffixes: N labeled samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.campaign.state import RunState
from umc_ray.encoders.encoder import MIN_NORM, Half
from umc_ray.records import FloatArray
from umc_ray.selection.labeled import labels_so_far, of_task, parts_of, read_embeddings
from umc_ray.serving.messages import Neighbor


@dataclass(frozen=True)
class LabeledSamples:
    """All labeled samples of a task, with embeddings of unit length by its default encoder."""

    embeddings_ND: FloatArray
    domains: Sequence[str]
    ids: Sequence[int]
    labels: Sequence[str]

    def nearest(self, embedding_D: Half, count: int) -> list[Neighbor]:
        """Return the nearest samples, nearest first."""
        similarity_N = self.embeddings_ND @ _unit(embedding_D.astype(np.float32))
        return [
            Neighbor(
                domain=self.domains[i],
                sample_id=str(self.ids[i]),
                label=self.labels[i],
                similarity=float(similarity_N[i]),
            )
            for i in np.argsort(-similarity_N, kind="stable")[:count].tolist()
        ]


class TaskNeighbors:
    """The labeled samples of a task; read once per round."""

    def __init__(self, run: RunState, task: str) -> None:
        self.run, self.task = run, task
        self.last: tuple[int, LabeledSamples] | None = None

    def read(self, rounds: int) -> LabeledSamples:
        """Return the samples labeled in the first rounds.

        Raises:
            StoreError: a round's files are missing.
        """
        last = self.last  # read once: requests run in several threads
        if last is None or last[0] != rounds:
            self.last = last = rounds, self._samples(rounds)
        return last[1]

    def _samples(self, rounds: int) -> LabeledSamples:
        storage, features = self.run.storage, self.run.selection_features[self.task]
        labels = of_task(labels_so_far(storage, self.run.folders(rounds)), self.task)
        return LabeledSamples(
            embeddings_ND=_unit(read_embeddings(storage, parts_of(labels), features, labels)),
            domains=labels["domain"].to_pylist(),
            ids=labels["sample_id"].to_pylist(),
            labels=labels["label"].to_pylist(),
        )


def _unit(embeddings: FloatArray) -> FloatArray:
    """Scale to length one, as most encoders do: the product of two is then their cosine."""
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit: FloatArray = embeddings / np.maximum(lengths, MIN_NORM)
    return unit
