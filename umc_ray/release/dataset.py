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
IMAGE = Column("image", pa.binary(), "the sample, as an encoded image file")

SCORE_COLUMNS = (
    Column("confidence", pa.float32(), "highest probability, mean over the specialists"),
    Column("disagreement", pa.float32(), "mean divergence between the specialists, in bits"),
    Column("score", pa.float32(), "confidence minus disagreement, summed over the specialists"),
    Column("margin", pa.float32(), "gap between the ensemble's two highest probabilities"),
    Column("entropy", pa.float32(), "entropy of the ensemble's mean, in bits"),
    Column("mutual_information", pa.float32(), "between label and specialist, in bits"),
)
"""From the last round's scores, with the same names."""

COLUMNS = (
    Column("sample_id", pa.int64(), "id of the sample, independent of where its source is stored"),
    Column("label", pa.string(), "the consensus of the annotators"),
    Column("domain", pa.string(), "the domain of the sample"),
    Column("key", pa.string(), "name of the sample in its source"),
    Column("source", pa.string(), "file that the sample was read from"),
    Column("round", pa.int32(), "round in which the sample was labeled"),
    Column("audit", pa.bool_(), "in the audit set: a uniform random sample of the domain's pool"),
    Column("why", pa.string(), "why the sample was queried"),
    Column("votes", pa.int16(), "number of answers with a label"),
    Column("agreement", pa.float32(), "share of these answers that agree with the label"),
    Column("cost", pa.float64(), "cost of all answers, in the campaign's unit"),
    Column("predicted", pa.string(), "most likely class according to the last round's ensemble"),
    Column("probability", pa.float32(), "probability of the predicted class"),
    *SCORE_COLUMNS,
)

NEAR_DUPLICATE_COLUMNS = (
    COLUMNS[0],
    Column("label", pa.string(), "the label of a near-duplicate that was annotated"),
    *COLUMNS[2:5],
    Column("origin", pa.string(), "near_duplicate: this sample was not annotated"),
    Column("label_of", pa.int64(), "sample_id of the annotated near-duplicate"),
    Column("similarity", pa.float32(), "cosine similarity of the two samples' embeddings"),
)

HF_TYPES = {
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.bool_(): "bool",
    pa.string(): "string",
}
"""The names of the types in Hugging Face datasets."""

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
    return TEXT if task.kind == "text_classification" else IMAGE


def columns(task: TaskConfig, kind: Kind = "data") -> list[Column]:
    """Return the columns of a task's tables, in order."""
    sample_id, *rest = COLUMNS if kind == "data" else NEAR_DUPLICATE_COLUMNS
    return [sample_id, payload(task), *rest]


def release_schema(task: TaskConfig, kind: Kind = "data") -> pa.Schema:
    """Return the schema of a task's tables; its metadata declares images to `datasets`."""
    features = {
        column.name: {"_type": "Image"}
        if column is IMAGE
        else {"_type": "Value", "dtype": HF_TYPES[column.kind]}
        for column in columns(task, kind)
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(column.name, column.kind) for column in columns(task, kind)], metadata)
