"""Passes to disturb: the real workers on made data, slower, and with faults that files ask for."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
from safetensors.torch import save

from umc_ray.cluster.resources import ANY_NODE
from umc_ray.cluster.stream import Compute, stream
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.passes import encode as features
from umc_ray.passes.encode import EncodeItem, EncodeWorker
from umc_ray.passes.score import ScoreWorker, score_parts
from umc_ray.records import POOL, DomainKey, Part, embeddings_column
from umc_ray.specialists.ensemble import EnsembleRef, decision_key
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

DOMAIN = DomainKey("task", "domain")
FEATURES, ENCODED, SCORED = "features/made", "features/encoded", "rounds/0001"
DIMENSION, CLASSES = 384, 10
ENCODER, KIND = "made", Classification(tuple(f"class {i}" for i in range(CLASSES)))
SPECIALISTS = ("a", "b", "generalist")
PARTS = [Part("pool", DOMAIN, f"part-{i:05d}", 2500) for i in range(40)]
PACE_S = 0.08


def log_of(root):
    return Path(root, "begun.log")


def begun(root):
    """The names of the parts whose work was begun, as often as it was."""
    return log_of(root).read_text().split() if log_of(root).exists() else []


def outputs(root, name):
    """What a pass has written, file by file."""
    paths = Path(root, {"score": SCORED, "encode": ENCODED}[name]).rglob("*.parquet")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def make_pool(storage):
    """Write texts, features and an ensemble."""
    rng = np.random.default_rng(0)
    for part in PARTS:
        ids_N = rng.integers(2**62, size=part.rows)
        rows_ND = rng.standard_normal((part.rows, DIMENSION), dtype=np.float32)
        columns = {"sample_id": ids_N, "embedding": embeddings_column(rows_ND)}
        storage.write_table(part.key(FEATURES), pa.table(columns))
        rows = [{"sample_id": i, "text": f"text {i}", "key": str(i), "source": "in"} for i in ids_N]
        rows[7]["text"] = part.name
        storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, POOL))
    for name in SPECIALISTS:
        weight = torch.from_numpy(rng.normal(0, 0.1, (1, DIMENSION, CLASSES))).float()
        head = {"weight": weight, "bias": torch.zeros(1, CLASSES)}
        storage.write_bytes(f"models/{name}/model.safetensors", save(head))
        storage.write_json(f"models/{name}/calibration.json", {"temperature": 1.5})
        config = SpecialistConfig(encoder=ENCODER)
        storage.write_json(f"models/{name}/config.json", config.model_dump())
    storage.write_json(decision_key("models"), {})


def ask_for(root, fault, part, times):
    """Ask that a part's work meets a fault so many times."""
    path = Path(root, fault, part.name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(times))


def meets(root, fault, name):
    """Whether a fault is asked for and has not happened often enough."""
    path = Path(root, fault, name)
    times = int(path.read_text()) if path.exists() else 0
    if times:
        path.write_text(str(times - 1))
    return times > 0


def begin(storage, part):
    """Leave a line in the log, take some time, and die if asked for."""
    with log_of(storage.root).open("a") as log:
        log.write(f"{part.name}\n")
    time.sleep(PACE_S)
    if meets(storage.root, "killed", part.name):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Scoring(ScoreWorker):
    def process(self, item):
        begin(self.storage, item)
        return super().process(item)


@dataclass(frozen=True)
class Encoding(EncodeWorker):
    def process(self, item):
        begin(self.storage, item.part)
        features.load_encoder = lambda config: Lengths(self.storage.root)
        return super().process(item)


class Lengths:
    """An encoder whose device is lost at the texts that are the name of a part."""

    column = "text"

    def __init__(self, root):
        self.root = root

    def prepare(self, payload):
        return payload

    def encode(self, prepared):
        for text in prepared:
            if meets(self.root, "lost", text):
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return np.array([[len(text), 1] for text in prepared], np.float16)


@dataclass(frozen=True)
class Placed(ScoreWorker):
    def process(self, item):
        begin(self.storage, item)
        with Path(self.storage.root, "nodes.log").open("a") as log:
            log.write(f"{ray.get_runtime_context().get_node_labels()['umc']}\n")
        return super().process(item)


def score(root, worker=Scoring, labels=ANY_NODE):
    worker = worker(
        storage=Storage(root),
        table=SCORED,
        ensembles={DOMAIN.task: EnsembleRef("models", SPECIALISTS, "made")},
        kinds={DOMAIN.task: KIND},
        features={DOMAIN.task: {ENCODER: FEATURES}},
        excluded={DOMAIN: np.empty(0, np.int64)},
        acquisition="margin",
        top=100,
    )
    score_parts(worker, PARTS, labels=labels)


def place(root):
    score(root, Placed, {"umc": "worker-0"})


def encode(root):
    config = EncoderConfig(kind="pixels")
    key = DOMAIN.task, ENCODER
    worker = Encoding(Storage(root), {key: features.Encoding(config, ENCODED)})
    stream(worker, [EncodeItem(part, ENCODER) for part in PARTS], Compute(actors=2))


PASSES = {"score": score, "encode": encode, "place": place}
