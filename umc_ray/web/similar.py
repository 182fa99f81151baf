"""Which samples resemble each other, by the embeddings that they were chosen by.

Suffixes: N samples, D embedding dimension.
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

PER_GROUP = 8
"""Samples of a group, on average."""

PER_CLASS = 2
"""Neighbours shown of each of the two likeliest classes."""

COLUMNS = ["task", "domain", "sample_id", "audit", "embedding"]


@dataclass(frozen=True)
class Group:
    """Samples that lie together, the nearest to their middle first."""

    name: str
    task: str
    keys: tuple[SampleKey, ...]
    outliers: frozenset[SampleKey]


@dataclass(frozen=True)
class Neighbour:
    """A labeled sample, as the question it was."""

    question: Question
    label: str


@dataclass(frozen=True)
class _Labeled:
    x_ND: FloatArray
    questions: tuple[Question, ...]
    labels: tuple[str, ...]


class SimilarSamples:
    """Looks samples of a campaign's rounds up by their embeddings; each round is read once."""

    def __init__(self, run: Run) -> None:
        """Look up in a run directory."""
        self._run = run
        self._turn = threading.Lock()
        self._round = lru_cache(maxsize=2)(self._read_round)
        self._labels = lru_cache(maxsize=8)(self._read_labeled)
        self.groups = lru_cache(maxsize=2)(self._find_groups)

    def neighbours(self, question: Question) -> list[Neighbour]:
        """Return the nearest labeled samples of the two classes that the ensemble finds likeliest.

        Empty for what belongs to no round of the campaign, or where nothing is known yet.
        """
        probabilities = question.payload.get("probabilities", {})
        likeliest = sorted(probabilities, key=lambda label: -probabilities[label])[:2]
        if question.round < 2 or not likeliest or question.campaign != self._run.config.name:
            return []
        with self._turn:
            embeddings = self._round(question.round)
            labeled = self._labels(question.task, question.round)
        own = embeddings.get(question.key)
        if own is None or labeled is None:
            return []
        order = np.argsort(-(labeled.x_ND @ own), kind="stable")
        found = []
        for label in likeliest:
            same = [i for i in order if labeled.labels[i] == label][:PER_CLASS]
            found += [Neighbour(labeled.questions[i], label) for i in same]
        return found

    def _read_round(self, number: int) -> dict[SampleKey, FloatArray]:
        batch, name = self._batch(number), self._run.config.name
        keys = zip(batch["task"].to_pylist(), batch["sample_id"].to_pylist(), strict=True)
        rows = [np.frombuffer(each, np.float16) for each in batch["embedding"].to_pylist()]
        return {(name, *key): _unit(row[None])[0] for key, row in zip(keys, rows, strict=True)}

    def _read_labeled(self, task: str, before: int) -> _Labeled | None:
        """Read what is labeled by now in the rounds before one."""
        storage, folders = self._run.storage, map(round_folder, range(1, before))
        done = [each for each in folders if storage.exists(f"{each}/labels.parquet")]
        if not done:
            return None
        labels = of_task(labels_with_embeddings(storage, done), task)
        if not len(labels):
            return None
        x_ND, rows = _unit(embeddings_array(labels["embedding"])), labels.to_pylist()
        name, classes = self._run.config.name, self._run.classes[task]
        questions = tuple(
            Question(name, row["round"], task, row["domain"], row["sample_id"]) for row in rows
        )
        return _Labeled(x_ND, questions, tuple(classes[row["label"]] for row in rows))

    def _find_groups(self, number: int) -> list[Group]:
        """Divide a round's samples into groups, the tightest first; audits belong to none."""
        batch = self._batch(number)
        groups: list[tuple[float, Group]] = []
        for task in self._run.config.tasks:
            mine = [
                each == task and not audit
                for each, audit in zip(
                    batch["task"].to_pylist(), batch["audit"].to_pylist(), strict=True
                )
            ]
            rows = batch.filter(pa.array(mine, pa.bool_()))
            if len(rows) > 1:
                groups += _groups(rows, self._run.config.name, number, task)
        return [group for _, group in sorted(groups, key=lambda pair: (pair[0], pair[1].name))]

    def _batch(self, number: int) -> pa.Table:
        return self._run.storage.read_table(f"{round_folder(number)}/batch.parquet", COLUMNS)


def _groups(rows: pa.Table, campaign: str, number: int, task: str) -> list[tuple[float, Group]]:
    """Return the groups of a task's samples, each with its mean squared distance to its middle."""
    ids = rows["sample_id"].to_pylist()
    x_ND = _unit(embeddings_array(rows["embedding"]))
    clusters = kmeans(torch.from_numpy(x_ND), max(1, len(ids) // PER_GROUP), seed=number)
    found = []
    for label in range(len(clusters.centers_KD)):
        members = np.flatnonzero(clusters.labels_N == label)
        distances = ((x_ND[members] - clusters.centers_KD[label]) ** 2).sum(1)
        order = np.argsort(distances, kind="stable")
        keys = [(campaign, task, ids[i]) for i in members[order]]
        far = _far(distances[order])
        outliers = frozenset(key for key, out in zip(keys, far, strict=True) if out)
        group = Group(f"{number}-{task}-{label}", task, tuple(keys), outliers)
        found.append((float(distances.mean()), group))
    return found


def _far(distances_N: FloatArray) -> Sequence[bool]:
    """Tell distances that are far above the others: three deviations above their median."""
    median = np.median(distances_N)
    deviation = 1.4826 * np.median(np.abs(distances_N - median))
    return [bool(each > median + 3 * deviation + 1e-6) for each in distances_N]


def _unit(x_ND: np.ndarray) -> FloatArray:
    x: FloatArray = x_ND.astype(np.float32)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x
