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
from umc_ray.campaign.state import round_folder
from umc_ray.methods.clustering import kmeans
from umc_ray.records import FloatArray, embeddings_array
from umc_ray.selection.labeled import labels_with_embeddings, of_task

GROUP_SIZE = 8
"""Average number of samples per group."""

PER_CLASS = 2
"""Neighbors shown for each of the two most probable classes."""

COLUMNS = ["task", "domain", "sample_id", "audit", "embedding"]


@dataclass(frozen=True)
class Group:
    """Similar samples, sorted by distance to their center; `outliers` are far from it."""

    name: str
    task: str
    keys: tuple[SampleKey, ...]
    outliers: frozenset[SampleKey]


@dataclass(frozen=True)
class Neighbor:
    """A labeled sample."""

    question: Question
    label: str


@dataclass(frozen=True)
class _Labeled:
    x_ND: FloatArray
    questions: tuple[Question, ...]
    labels: tuple[str, ...]


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
        """Return the nearest labeled samples of the two most probable classes.

        Empty if the question is from an API batch or the first round, or has no probabilities.
        """
        probabilities = question.payload.get("probabilities", {})
        top_labels = sorted(probabilities, key=lambda label: -probabilities[label])[:2]
        if question.round < 2 or not top_labels or question.campaign != self._run.config.name:
            return []
        with self._lock:
            embeddings = self._embeddings(question.round)
            labeled = self._labeled(question.task, question.round)
        x_D = embeddings.get(question.key)
        if x_D is None or labeled is None:
            return []
        order = np.argsort(-(labeled.x_ND @ x_D), kind="stable")
        neighbors = []
        for label in top_labels:
            nearest = [i for i in order if labeled.labels[i] == label][:PER_CLASS]
            neighbors += [Neighbor(labeled.questions[i], label) for i in nearest]
        return neighbors

    def _read_embeddings(self, number: int) -> dict[SampleKey, FloatArray]:
        batch, name = self._batch(number), self._run.config.name
        keys = zip(batch["task"].to_pylist(), batch["sample_id"].to_pylist(), strict=True)
        rows = [np.frombuffer(each, np.float16) for each in batch["embedding"].to_pylist()]
        return {(name, *key): _unit(row[None])[0] for key, row in zip(keys, rows, strict=True)}

    def _read_labeled(self, task: str, before: int) -> _Labeled | None:
        """Read the labeled samples of the rounds before a round; None if there are none."""
        storage, folders = self._run.storage, map(round_folder, range(1, before))
        labeled = [folder for folder in folders if storage.exists(f"{folder}/labels.parquet")]
        if not labeled:
            return None
        labels = of_task(labels_with_embeddings(storage, labeled), task)
        if not len(labels):
            return None
        x_ND, rows = _unit(embeddings_array(labels["embedding"])), labels.to_pylist()
        name, classes = self._run.config.name, self._run.classes[task]
        questions = tuple(
            Question(name, row["round"], task, row["domain"], row["sample_id"]) for row in rows
        )
        return _Labeled(x_ND, questions, tuple(classes[row["label"]] for row in rows))

    def _find_groups(self, number: int) -> list[Group]:
        """Cluster a round's samples into groups, tightest first; audit samples are left out."""
        batch = self._batch(number)
        groups: list[tuple[float, Group]] = []
        for task in self._run.config.tasks:
            pairs = zip(batch["task"].to_pylist(), batch["audit"].to_pylist(), strict=True)
            is_included = [each == task and not is_audit for each, is_audit in pairs]
            rows = batch.filter(pa.array(is_included, pa.bool_()))
            if len(rows) > 1:
                groups += _cluster(rows, self._run.config.name, number, task)
        return [group for _, group in sorted(groups, key=lambda pair: (pair[0], pair[1].name))]

    def _batch(self, number: int) -> pa.Table:
        return self._run.storage.read_table(f"{round_folder(number)}/batch.parquet", COLUMNS)


def _cluster(rows: pa.Table, campaign: str, number: int, task: str) -> list[tuple[float, Group]]:
    """Cluster a task's samples; return each group with its mean squared distance to its center."""
    ids = rows["sample_id"].to_pylist()
    x_ND = _unit(embeddings_array(rows["embedding"]))
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


def _unit(x_ND: np.ndarray) -> FloatArray:
    x: FloatArray = x_ND.astype(np.float32)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x
