"""What does encoding with a model cost in the pipeline, compared with the best plain loop?

    python -m benchmarks.encoding [--quick] [--check] [--repeats 3]

Encodes real texts with MiniLM on CPUs. Compares the real `encode` with one process without Ray
whose threads take the same files and use the same encoder in the same precision. Both batch texts
of similar length.

Each encoding pass starts new actors, which import torch, load the model and touch its memory for
the first time: a fixed cost. The plain process is warm. So the cost per text is the difference
between a pass over all texts and a pass over one part per actor; `whole_ratio` includes the fixed
cost. `workers_ratio` is without what Ray's other processes and the driver take. They do so by the
second, not by the text, however many workers there are: `ray_cpu_per_s`.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.cost import Cost, PlainProcess, cost_of
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.prepare import prepare
from umc_ray.encoders.encoder import Encoder
from umc_ray.encoders.precision import with_precision
from umc_ray.encoders.registry import load_encoder
from umc_ray.passes.encode import encode, features_table
from umc_ray.records import POOL, DomainKey, Part, embeddings_array, embeddings_column
from umc_ray.storage import Storage

CPUS = 2
ROWS_PER_PART = 256
DOMAIN = DomainKey("task", "domain")


def run(options: Options) -> Report:
    """Alternate between the pipeline and the plain loop."""
    rows = 1024 if options.quick else 4096
    paths = prepare()
    config = with_precision(EncoderConfig(kind="transformers", path=str(paths.minilm)))
    with pool(paths.sentiment, rows) as (storage, parts):
        small, passes, plain = _alternate(storage, config, parts, options.repeats)
        differences = _differences(storage, config, parts)
    more = [_less(each, few) for each, few in zip(passes, small, strict=True)]
    texts = rows - CPUS * ROWS_PER_PART
    startups = [p.cpu_s - each.cpu_s / texts * rows for p, each in zip(passes, more, strict=True)]
    others = [(each.cpu_s - each.workers_cpu_s) / each.wall_s for each in more]
    pairs = list(zip(more, [each.cpu_s / rows * texts for each in plain], strict=True))
    whole = [bare.cpu_s / p.cpu_s for p, bare in zip(passes, plain, strict=True)]
    return Report(
        workload={
            "texts": rows,
            "texts per part": ROWS_PER_PART,
            "batch size": config.batch_size,
            "precision": config.precision,
            "CPUs": CPUS,
        },
        figures={
            "small_pass_s": Figure("s", [each.wall_s for each in small]),
            "pass_s": Figure("s", [each.wall_s for each in passes]),
            "plain_s": Figure("s", [each.wall_s for each in plain]),
            "startup_cpu_s": Figure("CPU s", startups),
            "rows_per_cpu_s": Figure("texts/CPU s", [texts / each.cpu_s for each in more]),
            "plain_rows_per_cpu_s": Figure("texts/CPU s", [rows / each.cpu_s for each in plain]),
            "ray_cpu_per_s": Figure("CPU s/s", others),
            "workers_ratio": Figure("of plain", [bare / p.workers_cpu_s for p, bare in pairs]),
            "cpu_ratio": Figure("of plain", [bare / p.cpu_s for p, bare in pairs]),
            "whole_ratio": Figure("of plain", whole),
        },
        failures=differences,
    )


def _less(cost: Cost, less: Cost) -> Cost:
    return Cost(
        cost.wall_s - less.wall_s,
        cost.cpu_s - less.cpu_s,
        cost.workers_cpu_s - less.workers_cpu_s,
    )


@contextmanager
def pool(folder: Path, rows: int) -> Iterator[tuple[Storage, list[Part]]]:
    """Create a run directory with parts of texts."""
    files = sorted(folder.glob("*.parquet"))
    columns = [pq.read_table(file)["text"].to_pylist()[: rows // len(files)] for file in files]
    texts = list(
        chain.from_iterable(zip(*columns, strict=True))
    )  # each part has texts of all files
    with tempfile.TemporaryDirectory(prefix="umc-bench") as root:
        storage = Storage(root)
        parts = [
            _write(storage, f"part-{start:05d}", texts[start : start + ROWS_PER_PART], start)
            for start in range(0, len(texts), ROWS_PER_PART)
        ]
        yield storage, parts


def _write(storage: Storage, name: str, texts: list[str], first: int) -> Part:
    part = Part("pool", DOMAIN, name, len(texts))
    rows = [
        {"sample_id": first + i, "key": str(first + i), "source": "demo", "text": text}
        for i, text in enumerate(texts)
    ]
    storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    return part


def _alternate(
    storage: Storage, config: EncoderConfig, parts: list[Part], repeats: int
) -> tuple[list[Cost], list[Cost], list[Cost]]:
    """Measure a small pass, a full pass and the plain loop in turns."""
    few = parts[:CPUS]
    small, passes, plain = [], [], []
    encoders = {DOMAIN.task: {"encoder": config}}
    with local_ray(CPUS), PlainProcess() as process:
        # Warm up: the first run also starts Ray's helper processes and imports libraries.
        encode(encoders, few, storage)
        process.cost_of(plain_loop, storage, config, few)
        for _ in range(repeats):
            storage.delete("features")
            small.append(cost_of(encode, encoders, few, storage))
            storage.delete("features")
            passes.append(cost_of(encode, encoders, parts, storage))
            plain.append(process.cost_of(plain_loop, storage, config, parts))
    return small, passes, plain


def plain_loop(storage: Storage, config: EncoderConfig, parts: list[Part]) -> None:
    """Encode in threads, each with one file and one core.

    This is twice as fast as one file at a time with all threads inside torch.
    """
    torch.set_num_threads(1)
    encoder = load_encoder(config)
    with ThreadPoolExecutor(CPUS) as threads:
        list(threads.map(partial(_plain_part, storage, encoder, config.batch_size), parts))


def _plain_part(storage: Storage, encoder: Encoder, size: int, part: Part) -> None:
    table = storage.read_table(part.key("pool"), ["sample_id", "text"])
    texts = table["text"].to_pylist()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    batches = (order[i : i + size] for i in range(0, len(texts), size))
    embeddings = np.concatenate(
        [encoder.encode([texts[row] for row in batch]) for batch in batches]
    )
    column = embeddings_column(embeddings[np.argsort(order)])
    features = pa.table({"sample_id": table["sample_id"], "embedding": column})
    storage.write_table(part.key("plain"), features)


def _differences(storage: Storage, config: EncoderConfig, parts: list[Part]) -> list[str]:
    """Return the parts whose embeddings differ between the pipeline and the plain loop."""
    differences = []
    for part in parts:
        tables = [storage.read_table(part.key(name)) for name in (features_table(config), "plain")]
        piped, bare = (embeddings_array(table["embedding"]) for table in tables)
        if not np.allclose(piped, bare, atol=2e-3):
            differences.append(f"embeddings of {part.name} differ from the plain loop's")
    return differences


if __name__ == "__main__":
    main("encoding", __doc__, run, repeats=3)
