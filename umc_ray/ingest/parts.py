"""The second pass of ingest: decide which staged rows make up each part, and copy them there.

    plan/<part>              which rows a part is made of, in its order, and their duplicates' keys

Suffixes: N staged rows of a domain, R rows that are kept, P rows of a part.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.cluster.stream import Summary
from umc_ray.ingest.kept_columns import joined
from umc_ray.ingest.stage import INDEX, KEPT, ROWS, Reader, ReadSummary, chunk_name
from umc_ray.methods.identity import UNKNOWN, Duplicates, deduplicate
from umc_ray.records import ORACLE, POOL, POOL_WITH_EMBEDDINGS, Part
from umc_ray.storage import Storage

PART_BYTES = 1 << 28  # a part ends here even if it has few rows, so that it fits in memory

CONTENTS = pa.schema([("content_1", pa.uint64()), ("content_2", pa.uint64())])
PLAN = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("chunk", pa.string()),
        ("row", pa.int32()),
        ("label", pa.string()),
        ("aliases", pa.list_(pa.string())),
    ]
)

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chunks:
    """Where the row at a position of the domain is stored."""

    storage: Storage
    keys: Sequence[str]
    starts: Positions

    @classmethod
    def of(cls, reader: Reader, summaries: Sequence[ReadSummary]) -> Self:
        """Count through the chunks of all items."""
        sizes = {
            f"{reader.staging}/rows/{chunk_name(item, number)}.parquet": size
            for item, summary in enumerate(summaries)
            for number, size in enumerate(summary.chunks)
            if size
        }
        ends = np.cumsum([0, *sizes.values()], dtype=np.int64)
        return cls(reader.storage, list(sizes), ends[:-1])

    def find(self, positions_N: Positions) -> tuple[list[str], Positions]:
        """Return the chunk of each position and the row in it."""
        chunks_N = np.searchsorted(self.starts, positions_N, side="right") - 1
        return [self.keys[chunk] for chunk in chunks_N], positions_N - self.starts[chunks_N]

    def take(self, positions_N: Positions, columns: list[str]) -> pa.Table:
        """Read some columns of the rows at some positions, which are sorted."""
        return _take_rows(self.storage, *self.find(positions_N), columns)


def _take_rows(
    storage: Storage, chunks_P: Sequence[str], rows_P: Positions, columns: list[str]
) -> pa.Table:
    """Read rows out of the chunks that hold them; the rows of a chunk stand together."""
    schema = pa.schema([ROWS.field(name) for name in columns])
    tables = _rows_by_chunk(storage, chunks_P, rows_P, columns)
    return pa.concat_tables([schema.empty_table(), *tables])


def _rows_by_chunk(
    storage: Storage, chunks_P: Sequence[str], rows_P: Positions, columns: list[str]
) -> list[pa.Table]:
    """Return the rows that each chunk holds, one table for each."""
    starts = [i for i, chunk in enumerate(chunks_P) if i == 0 or chunk != chunks_P[i - 1]]
    stops = [*starts[1:], len(chunks_P)]

    def take(start: int, stop: int) -> pa.Table:
        return storage.read_table(chunks_P[start], columns).take(rows_P[start:stop])

    with ThreadPoolExecutor(4) as pool:  # each holds a chunk in memory
        return list(pool.map(take, starts, stops))  # without rows there is no start


@dataclass(frozen=True)
class StagedIndex:
    """All staged rows of a domain: what each is, where it is, and which of them are one."""

    ids_N: npt.NDArray[np.int64]
    contents_N2: npt.NDArray[np.uint64]
    sizes_N: npt.NDArray[np.int32]
    labels: pa.StringArray  # the known labels that occur, by number
    chunks: Chunks
    found: Duplicates

    @property
    def ids_R(self) -> npt.NDArray[np.int64]:
        """Ids of the rows that are kept."""
        return self.ids_N[self.found.kept_R]

    @property
    def contents_R2(self) -> npt.NDArray[np.uint64]:
        """Content hashes of the rows that are kept."""
        return self.contents_N2[self.found.kept_R]


def read_staged(reader: Reader, items: int) -> pa.Table:
    """Read the index of all items of a reader.

    The driver needs about 100 bytes a row for it: 10 GB for 10^8 rows of a domain.
    """
    with ThreadPoolExecutor(8) as pool:
        keys = [reader.output_key(item) for item in range(items)]
        tables = list(pool.map(reader.storage.read_table, keys))
    return pa.concat_tables(
        [INDEX.empty_table(), *(table.replace_schema_metadata(None) for table in tables)]
    )


def find_duplicates(
    index: pa.Table, chunks: Chunks, hidden_F2: npt.NDArray[np.uint64]
) -> StagedIndex:
    """Find the duplicates among staged rows; none of the hidden contents is kept."""
    ids_N, contents_N2 = index["sample_id"].to_numpy(), content_words(index)
    numbers_N, labels = number_labels(index)
    return StagedIndex(
        ids_N=ids_N,
        contents_N2=contents_N2,
        sizes_N=index["size"].to_numpy(),
        labels=labels,
        chunks=chunks,
        found=deduplicate(ids_N, contents_N2, numbers_N, hidden_F2),
    )


def number_labels(index: pa.Table) -> tuple[npt.NDArray[np.int32], pa.StringArray]:
    """Return the number of each row's known label, and the labels by number."""
    labels = index["label"].combine_chunks().dictionary_encode()
    numbers_N = labels.indices.fill_null(UNKNOWN).to_numpy().astype(np.int32)
    return numbers_N, labels.dictionary


def content_words(table: pa.Table) -> npt.NDArray[np.uint64]:
    """Return content hashes as N x 2 words."""
    return np.stack([table[name].to_numpy() for name in CONTENTS.names], axis=1)


def plan_parts(
    staged: StagedIndex, reader: Reader, rows_per_part: int, first: int = 0
) -> list[Part]:
    """Cut the kept rows into parts, numbered from `first`, and store what each is made of."""
    found, parts = staged.found, list[Part]()
    ids_R, aliases_R = staged.ids_R, _aliases(staged)
    for start, stop in _cut(staged.sizes_N[found.kept_R], rows_per_part):
        name = f"part-{first + len(parts):05d}"
        part = Part(reader.rules.split, reader.rules.domain_key, name, stop - start)
        chunks_P, rows_P = staged.chunks.find(found.kept_R[start:stop])
        numbers_P = found.labels_R[start:stop]
        labels_P = staged.labels.take(pa.array(numbers_P, mask=numbers_P == UNKNOWN))
        columns = [ids_R[start:stop], chunks_P, rows_P, labels_P]
        arrays = [pa.array(c, t) for c, t in zip(columns, PLAN.types[:-1], strict=True)]
        table = pa.table([*arrays, aliases_R.slice(start, stop - start)], PLAN)
        reader.storage.write_table(f"{reader.staging}/plan/{part.name}.parquet", table)
        parts.append(part)
    return parts


def _cut(sizes_R: npt.NDArray[np.int32], rows_per_part: int) -> list[tuple[int, int]]:
    """Cut rows into parts by count and by bytes; a part has at least one row."""
    ends_R = np.cumsum(sizes_R, dtype=np.int64)
    cuts, start = [], 0
    while start < len(sizes_R):
        before = ends_R[start - 1] if start else 0
        full = int(np.searchsorted(ends_R, before + PART_BYTES, side="right"))
        stop = max(start + 1, min(start + rows_per_part, full))
        cuts.append((start, stop))
        start = stop
    return cuts


def _aliases(staged: StagedIndex) -> pa.ListArray:
    """Return, for each kept row, the keys of its duplicates in source order."""
    represented_by_N = staged.found.represented_by_N
    is_other_N = (represented_by_N >= 0) & (represented_by_N != np.arange(len(represented_by_N)))
    others = np.flatnonzero(is_other_N)
    keys = staged.chunks.take(others, ["key"])["key"].combine_chunks()
    order = np.argsort(represented_by_N[others], kind="stable")
    ends_R = np.searchsorted(represented_by_N[others][order], staged.found.kept_R, side="right")
    offsets = pa.array(np.append(0, ends_R), pa.int32())
    return pa.ListArray.from_arrays(offsets, keys.take(pa.array(order)))


@dataclass(frozen=True)
class PartWriter:
    """Copy the rows of a part, in its order, out of the chunks."""

    storage: Storage
    staging: str
    has_answers: bool  # known labels or ratings
    keeps_columns: bool = False
    has_embeddings: bool = False
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, part: Part) -> str:
        """Name the part's file of the pool."""
        return part.key("pool")

    def process(self, part: Part) -> tuple[pa.Table, Summary]:
        """Store what is known of the part's labels, and what is kept; returns its rows."""
        plan = self.storage.read_table(f"{self.staging}/plan/{part.name}.parquet")
        schema = POOL_WITH_EMBEDDINGS if self.has_embeddings else POOL
        columns = [name for name in ROWS.names if name in schema.names or name == "ratings"]
        chunks_P, rows_P = plan["chunk"].to_pylist(), plan["row"].to_numpy()
        rows = _take_rows(self.storage, chunks_P, rows_P, columns)
        if self.has_answers:
            columns = [plan["sample_id"], plan["label"], rows["ratings"]]
            self.storage.write_table(part.key("oracle"), pa.table(columns, schema=ORACLE))
        if self.keeps_columns:
            chunks = _rows_by_chunk(self.storage, chunks_P, rows_P, [KEPT])
            kept = [pa.Table.from_struct_array(chunk[KEPT]) for chunk in chunks]
            self.storage.write_table(part.key("kept"), joined(kept))
        kept = rows.append_column("sample_id", plan["sample_id"])
        kept = kept.append_column("aliases", plan["aliases"])
        return kept.select(schema.names).cast(schema), Summary(part.rows)
