"""The pass that splits a pool into domains: each sample goes to the nearest center.

    <target>/<split>/<name>/<part>   a source of the domain, for campaign files

Suffixes: N samples of a part, D embedding dimension, K domains.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from umc_ray.cluster.stream import Summary
from umc_ray.methods.clustering import assign
from umc_ray.records import Part, embeddings_array
from umc_ray.storage import Storage

ASSIGNED = pa.schema(
    [("sample_id", pa.int64()), ("domain", pa.int16()), ("distance", pa.float32())]
)
"""assigned/<part>: the number of each sample's domain (-1: it has no embedding), in its order."""


@dataclass(frozen=True)
class AssignSummary(Summary):
    """What splitting a part gave."""

    samples: tuple[int, ...]  # of each domain


@dataclass(frozen=True)
class DomainWorker:
    """Copies the samples of stored parts into the sources of their domains."""

    storage: Storage
    features: str
    target: Storage
    names: tuple[str, ...]
    centers_KD: npt.NDArray[np.float32]
    columns: tuple[str, ...]  # of the pool, such as text
    has_answers: bool
    summary_type: ClassVar[type[AssignSummary]] = AssignSummary

    def output_key(self, item: Part) -> str:
        """Name the file with the domains of the part's samples."""
        return item.key("assigned")

    def process(self, item: Part) -> tuple[pa.Table, AssignSummary]:
        """Write the part's samples into the sources of their domains."""
        table = self.storage.read_table(item.key(self.features))
        labels_N, distance_N = nearest(embeddings_array(table["embedding"]), self.centers_KD)
        rows = self._rows(item)
        for number in np.unique(labels_N[labels_N >= 0]):
            mine = rows.take(pa.array(np.flatnonzero(labels_N == number)))
            self.target.write_table(f"{item.split}/{self.names[number]}/{item.name}.parquet", mine)
        columns = [table["sample_id"], pa.array(labels_N.astype(np.int16)), pa.array(distance_N)]
        counts_K = np.bincount(labels_N[labels_N >= 0], minlength=len(self.names))
        summary = AssignSummary(item.rows, tuple(counts_K.tolist()))
        return pa.Table.from_arrays(columns, schema=ASSIGNED), summary

    def _rows(self, item: Part) -> pa.Table:
        rows = self.storage.read_table(item.key("pool"), ["key", "source", *self.columns])
        if self.has_answers:
            answers = self.storage.read_table(item.key("oracle"), ["label", "ratings"])
            for name in answers.column_names:
                rows = rows.append_column(name, answers[name])
        return rows


def nearest(
    x_ND: npt.NDArray[np.float16], centers_KD: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the nearest center and the distance to it; -1 for embeddings that are not finite."""
    finite_N = np.isfinite(x_ND).all(1)
    labels_N, squared_N = assign(
        torch.from_numpy(x_ND.astype(np.float32)), torch.from_numpy(centers_KD)
    )
    return np.where(finite_N, labels_N.numpy(), -1), squared_N.sqrt().numpy()
