"""What does the pipeline cost beside the best plain loop, when a model is what takes the time?

    python -m benchmarks.encoding [--quick] [--check] [--repeats 3]

Real texts through MiniLM on CPUs: the real `encode` against one process without Ray whose threads
take the same files and use the same encoder. Both make batches of texts of like length.

An encoder's pass starts its actors anew, which import torch and load the model: a cost of the
pass, whatever its size. It is measured alone, by a pass over two texts, and taken off the rest.
"""

import statistics
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
from umc_ray.config import EncoderConfig
from umc_ray.demo.prepare import prepare
from umc_ray.pipeline.encoders import Encoder, load_encoder
from umc_ray.pipeline.features import encode, features_table
from umc_ray.records import POOL, Arm, Part, embeddings_array, embeddings_column
from umc_ray.storage import Storage

CPUS = 2
ROWS_PER_PART = 256
ARM = Arm("task", "domain")


def run(options: Options) -> Report:
    """Encode by the pipeline and by the plain loop in turns."""
    rows = 512 if options.quick else 4096
    paths = prepare()
    config = EncoderConfig(kind="transformers", path=str(paths.minilm))
    with pool(paths.sentiment, rows) as (storage, few, parts):
        idle, passes, plain = _alternate(storage, config, few, parts, options.repeats)
        differences = _differences(storage, config, parts)
    startup_s = statistics.median(each.cpu_s for each in idle)
    work = [each.cpu_s - startup_s for each in passes]
    return Report(
        workload={
            "texts": rows,
            "texts per part": ROWS_PER_PART,
            "batch size": config.batch_size,
            "CPUs": CPUS,
        },
        figures={
            "startup_s": Figure("s", [each.wall_s for each in idle]),
            "startup_cpu_s": Figure("CPU s", [each.cpu_s for each in idle]),
            "pass_s": Figure("s", [each.wall_s for each in passes]),
            "plain_s": Figure("s", [each.wall_s for each in plain]),
            "rows_per_cpu_s": Figure("texts/CPU s", [rows / each for each in work]),
            "plain_rows_per_cpu_s": Figure("texts/CPU s", [rows / each.cpu_s for each in plain]),
            "cpu_ratio": Figure(
                "of plain", [p.cpu_s / each for p, each in zip(plain, work, strict=True)]
            ),
        },
        failures=differences,
    )


@contextmanager
def pool(folder: Path, rows: int) -> Iterator[tuple[Storage, list[Part], list[Part]]]:
    """Make a run directory with parts of texts: two with one text each, and all that are timed."""
    files = sorted(folder.glob("*.parquet"))
    columns = [pq.read_table(file)["text"].to_pylist()[: rows // len(files)] for file in files]
    texts = list(chain.from_iterable(zip(*columns, strict=True)))  # each part has texts of all
    with tempfile.TemporaryDirectory(prefix="umc-bench") as root:
        storage = Storage(root)
        few = [_write(storage, f"few-{i}", texts[i : i + 1], i) for i in range(CPUS)]
        parts = [
            _write(storage, f"part-{start:05d}", texts[start : start + ROWS_PER_PART], start)
            for start in range(0, len(texts), ROWS_PER_PART)
        ]
        yield storage, few, parts


def _write(storage: Storage, name: str, texts: list[str], first: int) -> Part:
    part = Part("pool", ARM, name, len(texts))
    rows = [
        {"sample_id": first + i, "key": str(first + i), "source": "demo", "text": text}
        for i, text in enumerate(texts)
    ]
    storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    return part


def _alternate(
    storage: Storage, config: EncoderConfig, few: list[Part], parts: list[Part], repeats: int
) -> tuple[list[Cost], list[Cost], list[Cost]]:
    """Time start-up, pass and plain loop in turns."""
    idle, passes, plain = [], [], []
    encoders = {ARM.task: config}
    with local_ray(CPUS), PlainProcess() as process:
        # The first time starts more: Ray's own helpers here, imports there.
        encode(encoders, few, storage)
        process.cost_of(plain_loop, storage, config, few)
        for _ in range(repeats):
            storage.delete("features")
            idle.append(cost_of(encode, encoders, few, storage))
            passes.append(cost_of(encode, encoders, parts, storage))
            plain.append(process.cost_of(plain_loop, storage, config, parts))
    return idle, passes, plain


def plain_loop(storage: Storage, config: EncoderConfig, parts: list[Part]) -> None:
    """Encode in threads: each takes a file, and computes on one core.

    Twice as fast as one file at a time with all threads inside torch.
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
    found = np.concatenate([encoder.encode([texts[row] for row in batch]) for batch in batches])
    column = embeddings_column(found[np.argsort(order)])
    features = pa.table({"sample_id": table["sample_id"], "embedding": column})
    storage.write_table(part.key("plain"), features)


def _differences(storage: Storage, config: EncoderConfig, parts: list[Part]) -> list[str]:
    """Say where the pipeline and the plain loop found different embeddings."""
    found = []
    for part in parts:
        tables = [storage.read_table(part.key(name)) for name in (features_table(config), "plain")]
        piped, bare = (embeddings_array(table["embedding"]) for table in tables)
        if not np.allclose(piped, bare, atol=2e-3):
            found.append(f"embeddings of {part.name} differ from the plain loop's")
    return found


if __name__ == "__main__":
    main("encoding", __doc__, run, repeats=3)
