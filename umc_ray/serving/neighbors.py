"""The labeled samples nearest to a new one.

Suffixes: N labeled samples, D embedding dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from umc_ray.campaign.state import round_folder
from umc_ray.encoders.encoder import Half
from umc_ray.records import FloatArray, embeddings_array
from umc_ray.selection.labeled import labels_with_embeddings, of_task
from umc_ray.serving.messages import Neighbor
from umc_ray.storage import Storage


@dataclass(frozen=True)
class LabeledSamples:
    """All labeled samples of a task, with embeddings of unit length."""

    embeddings_ND: FloatArray
    domains: Sequence[str]
    ids: Sequence[int]
    labels: Sequence[str]

    def nearest(self, embedding_D: Half, count: int) -> list[Neighbor]:
        """Return the nearest samples, nearest first."""
        similarity_N = self.embeddings_ND @ embedding_D.astype(np.float32)
        return [
            Neighbor(
                domain=self.domains[i],
                sample_id=str(self.ids[i]),
                label=self.labels[i],
                similarity=float(similarity_N[i]),
            )
            for i in np.argsort(-similarity_N, kind="stable")[:count].tolist()
        ]


@lru_cache(maxsize=4)
def labeled_samples(
    storage: Storage, task: str, classes: tuple[str, ...], rounds: int
) -> LabeledSamples:
    """Read the samples labeled in the first rounds; cached per process.

    Raises:
        StoreError: a round's files are missing.
    """
    folders = [round_folder(number) for number in range(1, rounds + 1)]
    labels = of_task(labels_with_embeddings(storage, folders), task)
    return LabeledSamples(
        embeddings_ND=embeddings_array(labels["embedding"]).astype(np.float32),
        domains=labels["domain"].to_pylist(),
        ids=labels["sample_id"].to_pylist(),
        labels=[classes[i] for i in labels["label"].to_pylist()],
    )
