"""What do seals and page checksums cost a scoring pass?

    python -m benchmarks.checksums [--quick] [--check] [--repeats 9]

One process scores the pool of benchmarks.scoring part by part, in turns: as a run does it, with
page checksums that are written and verified, files that are compared with their seals, and scores
that are sealed; and without any of that. A process verifies the pages of a file once: `first_share`
is the cost of the pass that does, `share` that of the passes of later rounds. All files are in the
page cache.
"""

import io
import os
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.scoring import DIMENSION, FEATURES, ROUND, ROWS_PER_PART, pool, scorer
from umc_ray.cluster.stream import run_item
from umc_ray.records import Part
from umc_ray.storage import Filters, Storage


class PlainStorage(Storage):
    """A run directory without checksums."""

    def read_table(
        self, key: str, columns: list[str] | None = None, filters: Filters | None = None
    ) -> pa.Table:
        """Read a Parquet file as it is."""
        source = pa.memory_map(self.path(key))
        return pq.ParquetFile(source, pre_buffer=False).read(columns, use_threads=False)

    def write_table(self, key: str, table: pa.Table) -> None:
        """Write a Parquet file without checksums of its pages."""
        sink = io.BytesIO()
        pq.write_table(table, sink, use_dictionary=False, compression="lz4")
        self.write_bytes(key, sink.getbuffer())


def run(options: Options) -> Report:
    """Measure the CPU time of both passes in turns."""
    rows = 100_000 if options.quick else 500_000
    torch.set_num_threads(1)
    with pool(rows) as (storage, parts):
        storage.seal([*storage.keys(FEATURES), *storage.keys("models")])
        _score(storage, parts)
        plain, first, checked = [], [], []
        for _ in range(options.repeats):
            plain.append(_score(PlainStorage(storage.root), parts))
            _touch(storage)
            first.append(_score(storage, parts))
            checked.append(_score(storage, parts))
    shares = {
        name: Figure("of plain", [c / p - 1 for p, c in zip(plain, each, strict=True)])
        for name, each in (("first_share", first), ("share", checked))
    }
    return Report(
        workload={"rows": rows, "dimension": DIMENSION, "rows per part": ROWS_PER_PART},
        figures={
            "plain_cpu_s": Figure("CPU s", plain),
            "cpu_s": Figure("CPU s", checked),
            **shares,
        },
    )


def _touch(storage: Storage) -> None:
    """Have the pages of all features verified again, as in another process."""
    for key in storage.keys(FEATURES):
        os.utime(storage.path(key))


def _score(storage: Storage, parts: list[Part]) -> float:
    """Score all parts and seal the scores; returns the CPU seconds."""
    Storage(storage.root).delete("rounds")
    worker = replace(scorer(storage), storage=storage)
    began = time.process_time()
    for part in parts:
        run_item(worker, part)
    if not isinstance(storage, PlainStorage):
        storage.seal(storage.keys(ROUND))
    return time.process_time() - began


if __name__ == "__main__":
    main("checksums", __doc__, run, repeats=9)
