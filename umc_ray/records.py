"""The records that travel between stages and the columns of every table of a run directory.

A run directory holds tables (Parquet) and documents (JSON). Each table's schema stands here once;
`Part` names a piece of a pool: the unit of work, of parallelism and of resume.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Split = Literal["pool", "test", "target", "synthetic"]
LearnedFrom = Literal["embedding", "tokens", "texts"]
"""What models learn answers from: the embedding of a sample, the tokens of its text, or texts that
others wrote for samples."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

POOL = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("key", pa.string()),  # its name in its source: a file, a row number, an id
        ("source", pa.string()),
        ("text", pa.string()),  # one of text and image is null
        ("image", pa.binary()),
        ("aliases", pa.list_(pa.string())),  # keys of exact duplicates, represented by this row
    ]
)
"""pool/<task>/<domain>/<part>: what there is to choose from; test/...: what is never chosen."""

POOL_WITH_EMBEDDINGS = POOL.append(pa.field("embedding", pa.list_(pa.float32())))
"""The same where the sources came with embeddings."""

ORACLE = pa.schema(
    [("sample_id", pa.int64()), ("label", pa.string()), ("ratings", pa.list_(pa.int8()))]
)
"""oracle/...: known answers, read by the replay annotator and by nothing that selects."""

RELEASED = (
    *("sample_id", "text", "image", "label", "domain", "key", "source", "round", "audit", "why"),
    *("votes", "agreement", "tied", "cost", "predicted", "probability"),
    *("origin", "label_of", "similarity"),
)
"""The columns of a release, beside measures and what a domain keeps of its sources (kept/...)."""

QUARANTINE = pa.schema([("source", pa.string()), ("row", pa.string()), ("reason", pa.string())])
"""quarantine/<split>/<task>/<domain>/<part>: rows that could not be used."""

SYNTHETIC = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("gap", pa.string()),
        ("generator", pa.string()),
        ("version", pa.string()),
        ("seed", pa.int64()),
        ("exemplars", pa.list_(pa.int64())),  # ids of the real samples it was made from
        ("prompt", pa.string()),
        ("label", pa.string()),  # that it was made for
        ("copy_ratio", pa.float32()),  # of the two nearest real samples, by its limit: copies < 1
        ("distance", pa.float32()),  # to the nearest real sample, by the real ones' own median
        ("agreement", pa.float32()),  # probability that the ensemble gives its label
        ("refused", pa.string()),  # by which filter; null: people may validate it
    ]
)
"""synthetic/<task>/<domain>/<part>: where the rows of pool/synthetic/... come from."""

SYNTHETIC_PART = "synthetic-"
"""How the names of parts of synthetic samples begin; those of a pool begin otherwise."""

RANDOM_ORDERS = pa.schema(
    [
        ("purpose", pa.string()),
        ("part", pa.string()),
        ("row", pa.int32()),
        ("sample_id", pa.int64()),
    ]
)
"""random_orders/<size>/<task>/<domain>: the first samples of fixed random orders."""

CANDIDATES = pa.schema(
    [
        ("task", pa.string()),
        ("domain", pa.string()),
        ("part", pa.string()),
        ("row", pa.int32()),
        ("sample_id", pa.int64()),
        ("acquisition", pa.float32()),
    ]
)
"""rounds/<n>/candidates: the most informative samples of each domain, best first."""

GAP_CANDIDATES = CANDIDATES.append(pa.field("gap", pa.string()))
"""rounds/<n>/gaps/<part>: the most informative samples of each gap."""

BATCH = pa.schema(
    [
        *CANDIDATES,
        ("audit", pa.bool_()),  # drawn at random, not chosen: pays for honest estimates
        ("predicted", pa.string()),  # by the ensemble before people were asked; null: no model yet
        ("confidence", pa.float32()),
        ("why", pa.string()),
    ]
)
"""rounds/<n>/batch: what people are asked."""

LABELS = pa.schema(
    [
        ("task", pa.string()),
        ("domain", pa.string()),
        ("part", pa.string()),
        ("row", pa.int32()),
        ("sample_id", pa.int64()),
        ("label", pa.string()),  # as the task's kind writes a target
        ("votes", pa.int16()),
        ("agreement", pa.float32()),
        ("round", pa.int32()),
        ("cost", pa.float64()),
        ("tied", pa.bool_()),  # the votes do not say which label: this one was drawn
    ]
)
"""rounds/<n>/labels: the consensus of what people answered; of old runs, without `tied`.

rounds/<n>/corrections, in the same columns: labels of earlier rounds as they are from then on.
"""

REMARKS = pa.schema(
    [
        ("task", pa.string()),
        ("domain", pa.string()),
        ("sample_id", pa.int64()),
        ("round", pa.int32()),  # in which people were asked about the sample
        ("kind", pa.string()),  # flag or note
        ("text", pa.string()),
        ("submitted_at", pa.float64()),  # seconds since 1970
    ]
)
"""rounds/<n>/remarks: what people said about samples beside labels, up to then; not who."""

SCORES = ("1", "2", "3", "4", "5")
"""What people may say of the quality of a synthetic sample: useless to as good as a real one."""

STANDINGS = pa.schema(
    [
        *(field for field in LABELS if field.name != "tied"),
        ("made_for", pa.string()),
        ("generator", pa.string()),
        ("gap", pa.string()),
        ("exemplars", pa.list_(pa.int64())),
        ("standing", pa.string()),  # of diversity.validation.Standing
        ("quality", pa.float32()),  # what people say it is, 1 to 5, on average; null: nobody did
    ]
)
"""rounds/<n>/standings: what has become of each synthetic sample.

Without a label it has no part in training or a release; in round 0 nobody was asked.
"""

NEAR_DUPLICATES = pa.schema(
    [
        ("task", pa.string()),
        ("domain", pa.string()),
        ("part", pa.string()),
        ("row", pa.int32()),
        ("sample_id", pa.int64()),
        ("label", pa.string()),
        ("label_of", pa.int64()),  # the labeled sample whose label it is
        ("similarity", pa.float32()),  # cosine of the two embeddings
    ]
)
"""rounds/<n>/near_duplicates: samples that took over the label of one nearly the same."""


@dataclass(frozen=True, order=True)
class DomainKey:
    """A domain of a task: what the budget is split over."""

    task: str
    domain: str

    @classmethod
    def named(cls, text: str) -> "DomainKey":
        """Read task/domain."""
        task, _, domain = text.partition("/")
        return cls(task, domain)

    def __str__(self) -> str:
        """Name it as in the campaign file."""
        return f"{self.task}/{self.domain}"


@dataclass(frozen=True, order=True)
class Part:
    """A bounded piece of a domain's pool, test split, target set or synthetic samples."""

    split: Split
    domain_key: DomainKey
    name: str
    rows: int

    def key(self, table: str) -> str:
        """Name this part's file of a table, such as pool, oracle or features/<task>/<hash>."""
        return f"{table}/{self.split}/{self.domain_key}/{self.name}.parquet"

    def places(self, rows: npt.NDArray[np.integer], ids: IntArray) -> list[pa.Array]:
        """Return the columns task, domain, part, row and sample_id of some of its samples."""
        named = [
            pa.repeat(name, len(rows))
            for name in (self.domain_key.task, self.domain_key.domain, self.name)
        ]
        return [*named, pa.array(rows.astype(np.int32)), pa.array(ids)]


@dataclass(frozen=True)
class Made:
    """What a synthetic sample was made by, for which label, and from which samples (their ids)."""

    generator: str
    label: str
    exemplars: tuple[int, ...] = ()


def split_of_part(name: str) -> Split:
    """Return the split that people can be asked about a part of: the pool, or synthetic samples."""
    return "synthetic" if name.startswith(SYNTHETIC_PART) else "pool"


def embeddings_array(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float16]:
    """View a fixed_size_binary (or binary, all of one width) column as float16 rows N x D.

    Views, not lists: decoding a list column costs 47 times as long as reading this one.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # several chunks too large for one array
        return np.concatenate([embeddings_array(chunk) for chunk in array.chunks])
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
        data = data[array.offset * width : (array.offset + len(array)) * width]
        return data.view(np.float16).reshape(len(array), width // 2)
    rows = [np.frombuffer(value.as_buffer(), dtype=np.float16) for value in array]
    return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float16)


def embeddings_column(embeddings_ND: npt.NDArray[np.float16]) -> pa.FixedSizeBinaryArray:
    """Pack float16 rows N x D into a fixed_size_binary column without copying."""
    rows = np.ascontiguousarray(embeddings_ND, dtype=np.float16)
    kind = pa.binary(rows.shape[1] * 2)
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, pa.py_buffer(rows)])
