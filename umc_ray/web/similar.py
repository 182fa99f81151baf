"""Similar samples: labeled neighbors of a question, and groups of similar samples in a round.

Similarity is that of the embeddings that were used for selection. Suffixes: N samples, D embedding
dimension, K clusters.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch

from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import VALIDATION, round_folder
from umc_ray.methods.clustering import kmeans
from umc_ray.records import FloatArray
from umc_ray.selection.labeled import PLACE, labels_so_far, of_task, parts_of, read_embeddings

GROUP_SIZE = 8
"""Average number of samples per group."""

PER_LABEL = 2
"""Neighbors shown for each of the two most probable labels."""


@dataclass(frozen=True)
class Group:
    """Similar samples, sorted by distance to their center; `outliers` are far from it."""

    name: str
    task: str
    keys: tuple[SampleKey, ...]
    outliers: frozenset[SampleKey]


@dataclass(frozen=True)
class Neighbor:
    """A labeled sample; `label` is its answer."""

    question: Question
    label: str


@dataclass(frozen=True)
class _Labeled:
    """Labeled samples; `labels` are those that each answer gives."""

    x_ND: FloatArray
    neighbors: tuple[Neighbor, ...]
    labels: tuple[frozenset[str], ...]


class SimilarSamples:
    """Finds similar samples of a campaign; caches what it reads of recent rounds."""

    def __init__(self, run: Run) -> None:
        """Read from a run directory."""
        self._run = run
        self._lock = threading.Lock()
        self._embeddings = lru_cache(maxsize=2)(self._read_embeddings)
        self._labeled = lru_cache(maxsize=8)(self._read_labeled)
        self.groups = lru_cache(maxsize=2)(self._find_groups)

    def neighbors(self, question: Question) -> list[Neighbor]:
        """Return the nearest labeled samples that have one of the two most probable labels.

        Of a synthetic sample, return what it was made from, or else what is near to it and has the
        label that it was made for.

        Empty if the question is from an API batch, has no probabilities, or nothing is labeled.
        """
        top_labels = self._top_labels(question)
        if not top_labels or question.campaign != self._run.config.name:
            return []
        with self._lock:
            labeled = self._labeled(question.task, question.round)
            x_D = None if labeled is None else self._embeddings(question.round).get(question.key)
        if labeled is None or x_D is None:
            return []
        if exemplars := _exemplars(labeled, question):
            return exemplars
        order = np.argsort(-(labeled.x_ND @ x_D), kind="stable")
        picked: dict[int, Neighbor] = {}  # a sample may have both labels
        for label in top_labels:
            nearest = [i for i in order if label in labeled.labels[i]][:PER_LABEL]
            picked |= {i: labeled.neighbors[i] for i in nearest}
        return list(picked.values())

    def _top_labels(self, question: Question) -> list[str]:
        """Return the labels whose samples are worth a comparison."""
        if question.payload.made is not None:
            kind = self._run.kinds[question.task]
            return list(kind.counts([question.payload.made.label]))
        probabilities = question.payload.probabilities
        return sorted(probabilities, key=lambda label: -probabilities[label])[:2]

    def _read_embeddings(self, number: int) -> dict[SampleKey, FloatArray]:
        batch, embeddings = self._batch(number), {}
        if self._run.storage.exists(key := f"{round_folder(number)}/{VALIDATION}"):
            batch = pa.concat_tables([batch, self._run.storage.read_table(key, batch.column_names)])
        for task in self._run.config.tasks:
            rows = of_task(batch, task)
            x_ND = self._task_embeddings(task, rows)
            for sample_id, x_D in zip(rows["sample_id"].to_pylist(), x_ND, strict=True):
                embeddings[self._run.config.name, task, sample_id] = x_D
        return embeddings

    def _task_embeddings(self, task: str, places: pa.Table) -> FloatArray:
        """Read the unit embeddings of samples of a task, in their order."""
        run = self._run
        parts, features = parts_of(places), run.selection_features[task]
        return _unit(read_embeddings(run.storage, parts, features, places))

    def _read_labeled(self, task: str, before: int) -> _Labeled | None:
        """Read the labeled samples of the rounds before a round; None if there are none."""
        storage, folders = self._run.storage, map(round_folder, range(before))
        labeled = [folder for folder in folders if storage.exists(f"{folder}/labels.parquet")]
        if not labeled:
            return None
        labels = of_task(labels_so_far(storage, labeled), task)
        if not len(labels):
            return None
        name, kind, rows = self._run.config.name, self._run.kinds[task], labels.to_pylist()
        neighbors = tuple(
            Neighbor(
                Question(name, row["round"], task, row["domain"], row["sample_id"]), row["label"]
            )
            for row in rows
        )
        given = tuple(frozenset(kind.counts([row["label"]])) for row in rows)
        return _Labeled(self._task_embeddings(task, labels), neighbors, given)

    def _find_groups(self, number: int) -> list[Group]:
        """Cluster a round's samples into groups, tightest first; audit samples are left out."""
        batch = self._batch(number)
        groups: list[tuple[float, Group]] = []
        for task in self._run.config.tasks:
            rows = of_task(batch, task)
            rows = rows.filter(pa.array([not each for each in rows["audit"].to_pylist()]))
            if len(rows) > 1:
                x_ND, ids = self._task_embeddings(task, rows), rows["sample_id"].to_pylist()
                groups += _cluster(x_ND, ids, self._run.config.name, number, task)
        return [group for _, group in sorted(groups, key=lambda pair: (pair[0], pair[1].name))]

    def _batch(self, number: int) -> pa.Table:
        columns = [*PLACE, "audit"]
        return self._run.storage.read_table(f"{round_folder(number)}/batch.parquet", columns)


def _exemplars(labeled: _Labeled, question: Question) -> list[Neighbor]:
    """Return the labeled samples that a synthetic one was made from, the first few of them."""
    made = question.payload.made
    by_id = {each.question.sample_id: each for each in labeled.neighbors} if made else {}
    found = [by_id[each] for each in (made.exemplars if made else ()) if each in by_id]
    return found[: 2 * PER_LABEL]


def _cluster(
    x_ND: FloatArray, ids: Sequence[int], campaign: str, number: int, task: str
) -> list[tuple[float, Group]]:
    """Cluster a task's samples; return each group with its mean squared distance to its center."""
    clusters = kmeans(torch.from_numpy(x_ND), max(1, len(ids) // GROUP_SIZE), seed=number)
    groups = []
    for label in range(len(clusters.centers_KD)):
        members = np.flatnonzero(clusters.labels_N == label)
        distances = ((x_ND[members] - clusters.centers_KD[label]) ** 2).sum(1)
        order = np.argsort(distances, kind="stable")
        keys = [(campaign, task, ids[i]) for i in members[order]]
        is_far = _is_outlier(distances[order])
        outliers = frozenset(key for key, far in zip(keys, is_far, strict=True) if far)
        group = Group(f"{number}-{task}-{label}", task, tuple(keys), outliers)
        groups.append((float(distances.mean()), group))
    return groups


def _is_outlier(distances_N: FloatArray) -> Sequence[bool]:
    """Return which distances are more than three deviations (scaled MAD) above the median."""
    median = np.median(distances_N)
    deviation = 1.4826 * np.median(np.abs(distances_N - median))
    return [bool(each > median + 3 * deviation + 1e-6) for each in distances_N]


def _unit(x_ND: FloatArray) -> FloatArray:
    unit_ND: FloatArray = x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), 1e-12)
    return unit_ND
