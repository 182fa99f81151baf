"""The columns of released tables, for Parquet, the dataset card and Croissant."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from umc_ray.config.task import TaskConfig
from umc_ray.records import DomainKey


@dataclass(frozen=True)
class Column:
    """A column of a release."""

    name: str
    kind: pa.DataType
    about: str


TEXT = Column("text", pa.string(), "the sample")
IMAGE = Column(
    "image",
    pa.binary(),
    "the image file as read; people and models saw its normal form",
)

SAMPLE_ID = Column(
    "sample_id", pa.int64(), "id of the sample, independent of where its source is stored"
)

COLUMNS = (
    Column("domain", pa.string(), "the domain of the sample"),
    Column("key", pa.string(), "name of the sample in its source"),
    Column(
        "source",
        pa.string(),
        "file that the sample was read from, below its sources' folder",
    ),
    Column(
        "round",
        pa.int32(),
        "round in which the sample was labeled; 0: its label came with its source",
    ),
    Column("audit", pa.bool_(), "in the audit set: a uniform random sample of the domain's pool"),
    Column("why", pa.string(), "why the sample was queried"),
    Column("votes", pa.int16(), "number of answers with a label"),
    Column("agreement", pa.float32(), "share of these answers that agree with the label"),
    Column("cost", pa.float64(), "cost of all answers, in the campaign's unit"),
)
"""Of annotated samples, after the id, the payload and the label."""

NEAR_DUPLICATE_COLUMNS = (
    *COLUMNS[:3],
    Column("origin", pa.string(), "near_duplicate: this sample was not annotated"),
    Column("label_of", pa.int64(), "sample_id of the annotated near-duplicate"),
    Column("similarity", pa.float32(), "cosine similarity of the two samples' embeddings"),
)

HF_TYPES = {
    pa.int8(): "int8",
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.bool_(): "bool",
    pa.string(): "string",
}
"""The names of the types in Hugging Face datasets."""

Feature = dict[str, object]

Kind = Literal["data", "near_duplicates"]
"""Annotated labels, or labels propagated to near-duplicates; each kind has its own folder."""


@dataclass(frozen=True)
class DataFile:
    """A released table of one domain, with its statistics for the card."""

    domain_key: DomainKey
    kind: Kind
    path: str
    sha256: str
    size: int  # bytes
    rows: int
    audits: int
    cost: float
    classes: Mapping[str, int]  # number of labels by class

    @property
    def record_set(self) -> str:
        """The name of its record set in Croissant."""
        return str(self.domain_key) if self.kind == "data" else f"{self.domain_key}/{self.kind}"


def payload(task: TaskConfig) -> Column:
    """Return the column with a task's samples."""
    return TEXT if task.payload == "text" else IMAGE


def score_columns(task: TaskConfig) -> list[Column]:
    """Return the columns from the last round's scores: the prediction and the measures."""
    kind = task.task_kind()
    measures = [Column(name, pa.float32(), about) for name, about in kind.measures_about.items()]
    return [
        Column("predicted", kind.target_type, "prediction of the last round's ensemble"),
        Column("probability", pa.float32(), "probability that the prediction is right in full"),
        *measures,
    ]


def columns(task: TaskConfig, kind: Kind = "data") -> list[Column]:
    """Return the columns of a task's tables, in order."""
    target_type = task.task_kind().target_type
    if kind == "data":
        label = Column("label", target_type, "the consensus of the annotators")
        rest = [*COLUMNS, *score_columns(task)]
    else:
        label = Column("label", target_type, "the label of a near-duplicate that was annotated")
        rest = list(NEAR_DUPLICATE_COLUMNS)
    return [SAMPLE_ID, payload(task), label, *rest]


def release_schema(task: TaskConfig, kind: Kind = "data") -> pa.Schema:
    """Return the schema of a task's tables; its metadata declares images to `datasets`."""
    features = {column.name: hub_feature(column) for column in columns(task, kind)}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(column.name, column.kind) for column in columns(task, kind)], metadata)


def hub_feature(column: Column) -> Feature:
    """Return the type of a column as Hugging Face datasets declares it in a file."""
    if column is IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(column.kind):
        return {"_type": "List", "feature": _value(column.kind.value_type)}
    return _value(column.kind)


def _value(kind: pa.DataType) -> Feature:
    return {"_type": "Value", "dtype": HF_TYPES[kind]}
