"""What does a pass over cached features cost compared with the best plain loop?

    python -m benchmarks.scoring [--quick] [--check] [--repeats 5]

The pass is the real one: `ScoreWorker` and `score_parts` on a run directory in /tmp. The plain code
is one process without Ray that reads the same files with the same number of threads, computes the
same scores and stores them. Both are warm: one pass before does not count, and the files are in the
page cache.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save

from benchmarks.cost import Cost, PlainProcess, cost_of, peak_memory
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.cluster.stream import Summary, run_item
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.scoring import score, top_m
from umc_ray.passes.score import ScoreWorker, score_parts, score_schema
from umc_ray.records import DomainKey, Part, embeddings_array, embeddings_column
from umc_ray.specialists.ensemble import EnsembleRef, decision_key
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

CPUS = 2
DIMENSION = 384
CLASSES = 10
SPECIALISTS = ("a", "b", "c", "d", "generalist")
ROWS_PER_PART = 10_000  # the default of campaign.yaml
TOP = 2000
TEMPERATURE = 1.5
SEED = 0
KIND = Classification(tuple(f"class {i}" for i in range(CLASSES)))
COLUMNS = score_schema(KIND).names
DOMAIN = DomainKey("task", "domain")
ENCODER, FEATURES = "benchmark", "features/benchmark"
ROUND = "rounds/0001"


def run(options: Options) -> Report:
    """Measure speed; a full run also measures memory, on a fifth of the rows and on all."""
    rows = 100_000 if options.quick else 1_000_000
    with pool(rows) as (storage, parts):
        passes, plain = _alternate(storage, parts, options.repeats)
        differences = _differences(storage, parts)
        memory = {} if options.quick else _memory_figures(storage, parts)
    pairs = list(zip(passes, plain, strict=True))
    return Report(
        workload={
            "rows": rows,
            "dimension": DIMENSION,
            "specialists": len(SPECIALISTS),
            "classes": CLASSES,
            "rows per part": ROWS_PER_PART,
            "CPUs": CPUS,
            "seed": SEED,
        },
        figures={
            "rows_per_s": Figure("rows/s", [rows / each.wall_s for each in passes]),
            "plain_rows_per_s": Figure("rows/s", [rows / each.wall_s for each in plain]),
            "wall_ratio": Figure("of plain", [p.wall_s / r.wall_s for r, p in pairs]),
            "cpu_s": Figure("CPU s", [each.cpu_s for each in passes]),
            "plain_cpu_s": Figure("CPU s", [each.cpu_s for each in plain]),
            "cpu_ratio": Figure("of plain", [p.cpu_s / r.cpu_s for r, p in pairs]),
            **memory,
        },
        failures=differences,
    )


@contextmanager
def pool(rows: int) -> Iterator[tuple[Storage, list[Part]]]:
    """Create a run directory with cached features and an ensemble."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        maker, parts = FeatureMaker(Storage(folder)), parts_of(rows)
        for part in parts:
            run_item(maker, part)
        write_ensemble(maker.storage)
        yield maker.storage, parts


def parts_of(rows: int, per_part: int = ROWS_PER_PART) -> list[Part]:
    """Return the parts of a pool."""
    sizes = [min(per_part, rows - start) for start in range(0, rows, per_part)]
    return [Part("pool", DOMAIN, f"part-{i:05d}", size) for i, size in enumerate(sizes)]


@dataclass(frozen=True)
class FeatureMaker:
    """Creates random features of unit length; can run as a pass on a cluster."""

    storage: Storage
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, item: Part) -> str:
        """Name the part's features."""
        return item.key(FEATURES)

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Create the features of a part."""
        rng = np.random.default_rng([SEED, *item.name.encode()])
        values_ND = rng.standard_normal((item.rows, DIMENSION), dtype=np.float32)
        values_ND /= np.linalg.norm(values_ND, axis=1, keepdims=True)
        columns = {
            "sample_id": rng.integers(2**62, size=item.rows),
            "embedding": embeddings_column(values_ND.astype(np.float16)),
        }
        return pa.table(columns), Summary(item.rows)


def write_ensemble(storage: Storage) -> None:
    """Create random specialists that are often uncertain."""
    rng = np.random.default_rng(SEED)
    for name in SPECIALISTS:
        head = {
            "weight": torch.from_numpy(rng.normal(0, 2, (1, DIMENSION, CLASSES))).float(),
            "bias": torch.from_numpy(rng.normal(0, 0.1, (1, CLASSES))).float(),
        }
        storage.write_bytes(f"models/{name}/model.safetensors", save(head))
        storage.write_json(f"models/{name}/calibration.json", {"temperature": TEMPERATURE})
        config = SpecialistConfig(encoder=ENCODER)
        storage.write_json(f"models/{name}/config.json", config.model_dump())
    storage.write_json(decision_key("models"), {})


def _alternate(storage: Storage, parts: list[Part], repeats: int) -> tuple[list[Cost], list[Cost]]:
    """Measure the pass and the plain loop in turns, after a warm-up."""
    passes, plain = [], []
    with local_ray(CPUS), PlainProcess() as process:
        for repeat in range(repeats + 1):
            storage.delete("rounds")
            piped = cost_of(score_pass, storage, parts)
            storage.delete("plain")
            bare = process.cost_of(plain_loop, storage.root, [f"{p.name}.parquet" for p in parts])
            if repeat:
                passes.append(piped)
                plain.append(bare)
    return passes, plain


def _memory_figures(storage: Storage, parts: list[Part]) -> dict[str, Figure]:
    few, many = _memory(storage, parts[: len(parts) // 5]), _memory(storage, parts)
    return {
        "memory_few_mb": Figure("MB", [few]),
        "memory_mb": Figure("MB", [many]),
        "memory_growth": Figure("times", [many / few]),
    }


def _memory(storage: Storage, parts: list[Part]) -> float:
    """Return the peak memory of a pass with a new Ray: workers do not release memory."""
    storage.delete("rounds")
    with local_ray(CPUS), peak_memory() as peak:
        score_pass(storage, parts)
    return peak[0]


def _differences(storage: Storage, parts: list[Part]) -> list[str]:
    """Return the columns in which the pass and the plain loop differ."""
    differences = []
    for part in parts:
        piped = storage.read_table(part.key(f"{ROUND}/scores"))
        bare = storage.read_table(f"plain/scores/{part.name}.parquet")
        for name in COLUMNS:
            if not np.allclose(piped[name].to_numpy(), bare[name].to_numpy(), atol=1e-4):
                differences.append(f"{name} of {part.name} differs from the plain loop's")
    return differences


def score_pass(storage: Storage, parts: list[Part]) -> None:
    """Score all parts with the pipeline."""
    score_parts(scorer(storage), parts)


def scorer(storage: Storage) -> ScoreWorker:
    """Return the worker that scores the pool of the benchmark."""
    return ScoreWorker(
        storage=storage,
        table=ROUND,
        ensembles={DOMAIN.task: EnsembleRef("models", SPECIALISTS, "benchmark")},
        kinds={DOMAIN.task: KIND},
        features={DOMAIN.task: {ENCODER: FEATURES}},
        excluded={DOMAIN: np.empty(0, np.int64)},
        acquisition="margin",
        top=TOP,
    )


@dataclass(frozen=True)
class PlainModel:
    """All heads as one matrix, temperatures included."""

    weight_XD: torch.Tensor
    bias_X1: torch.Tensor

    @classmethod
    def load(cls, root: str) -> Self:
        """Read the heads as safetensors."""
        heads = [load_file(f"{root}/models/{name}/model.safetensors") for name in SPECIALISTS]
        weight_XD = torch.cat([head["weight"][0].T for head in heads]) / TEMPERATURE
        bias_X = torch.cat([head["bias"][0] for head in heads]) / TEMPERATURE
        return cls(weight_XD.contiguous(), bias_X[:, None])

    def probabilities(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Return probabilities SNC with the memory layout SCN, which makes reductions fast."""
        logits_XN = torch.addmm(self.bias_X1, self.weight_XD, x_ND.T)
        return logits_XN.view(len(SPECIALISTS), CLASSES, -1).softmax(1).transpose(1, 2)


def plain_loop(root: str, names: list[str]) -> None:
    """Score all files in threads, each with one file and one core.

    This is faster than one file at a time with all threads inside torch: I/O overlaps as well.
    """
    torch.set_num_threads(1)
    model = PlainModel.load(root)
    for folder in ("scores", "top"):
        Path(root, "plain", folder).mkdir(parents=True)
    with ThreadPoolExecutor(CPUS) as pool:
        list(pool.map(partial(_plain_file, model, Path(root)), names))


def _plain_file(model: PlainModel, root: Path, name: str) -> None:
    source = root / FEATURES / "pool" / DOMAIN.task / DOMAIN.domain / name
    features = pq.ParquetFile(source, memory_map=True).read(use_threads=False)
    ids_N = features["sample_id"].to_numpy()
    x_ND = torch.from_numpy(embeddings_array(features["embedding"])).float()
    scores = score(model.probabilities(x_ND))
    top_probs_N2, top_labels_N2 = scores.mean_NC.topk(2, dim=1)
    columns = {
        "sample_id": ids_N,
        **{
            each: getattr(scores, f"{each}_N").numpy()
            for each in COLUMNS
            if hasattr(scores, f"{each}_N")
        },
        "label_1": top_labels_N2[:, 0].numpy().astype(np.int16),
        "prob_1": top_probs_N2[:, 0].numpy(),
        "label_2": top_labels_N2[:, 1].numpy().astype(np.int16),
        "prob_2": top_probs_N2[:, 1].numpy(),
    }
    best = top_m(1 - columns["margin"], ids_N, TOP)
    top = pa.table({"row": best, "sample_id": ids_N[best], "margin": columns["margin"][best]})
    pq.write_table(top, root / "plain" / "top" / name, use_dictionary=False)
    scored = pa.table(columns).select(COLUMNS)
    pq.write_table(
        scored, root / "plain" / "scores" / name, use_dictionary=False, compression="lz4"
    )


if __name__ == "__main__":
    main("scoring", __doc__, run, repeats=5)
