"""The columns of a released table, once for Parquet, for people and for machines."""

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
IMAGE = Column("image", pa.binary(), "the sample, an encoded image file")

SCORE_COLUMNS = (
    Column("confidence", pa.float32(), "mean over specialists of their highest probability"),
    Column("disagreement", pa.float32(), "mean divergence between the specialists, bits"),
    Column("score", pa.float32(), "confidence minus disagreement, summed over specialists"),
    Column("margin", pa.float32(), "gap between the two most likely classes of the ensemble"),
    Column("entropy", pa.float32(), "entropy of the ensemble's mean, bits"),
    Column("mutual_information", pa.float32(), "entropy that the specialists' conflict explains"),
)
"""From the last round's scores, under the names they have there."""

COLUMNS = (
    Column("sample_id", pa.int64(), "number of the sample, the same wherever its source lies"),
    Column("label", pa.string(), "what most people said"),
    Column("domain", pa.string(), "where the sample comes from"),
    Column("key", pa.string(), "name of the sample in its source"),
    Column("source", pa.string(), "file the sample was read from"),
    Column("round", pa.int32(), "round in which people were asked"),
    Column("audit", pa.bool_(), "in the audit set: a uniform random sample of the domain's pool"),
    Column("why", pa.string(), "why people were asked"),
    Column("votes", pa.int16(), "answers with a label"),
    Column("agreement", pa.float32(), "share of these answers that gave the label"),
    Column("cost", pa.float64(), "cost of all answers, in the campaign's unit"),
    Column("predicted", pa.string(), "most likely class by the last round's ensemble"),
    Column("probability", pa.float32(), "its probability by the ensemble"),
    *SCORE_COLUMNS,
)

NEAR_DUPLICATE_COLUMNS = (
    COLUMNS[0],
    Column("label", pa.string(), "what people said of another sample, nearly the same"),
    *COLUMNS[2:5],
    Column("origin", pa.string(), "near_duplicate: nobody was asked about this sample"),
    Column("label_of", pa.int64(), "sample_id of the sample that people labeled"),
    Column("similarity", pa.float32(), "cosine of the two samples' embeddings"),
)

VALUES = {
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.bool_(): "bool",
    pa.string(): "string",
}
"""What Hugging Face datasets calls the types."""


Kind = Literal["data", "near_duplicates"]
"""Labels that people gave, or that near-duplicates took over: in folders of their own."""


@dataclass(frozen=True)
class DataFile:
    """A released table of one domain, and what the card says of it."""

    domain_key: DomainKey
    kind: Kind
    path: str
    sha256: str
    size: int  # bytes
    rows: int
    audits: int
    cost: float
    classes: Mapping[str, int]  # labels of each class

    @property
    def records(self) -> str:
        """Name its records for machines."""
        return str(self.domain_key) if self.kind == "data" else f"{self.domain_key}/{self.kind}"


def payload(task: TaskConfig) -> Column:
    """Return the column that holds a task's samples."""
    return TEXT if task.kind == "text_classification" else IMAGE


def columns(task: TaskConfig, kind: Kind = "data") -> list[Column]:
    """Return the columns of a task's tables of a kind, in their order."""
    first, *others = COLUMNS if kind == "data" else NEAR_DUPLICATE_COLUMNS
    return [first, payload(task), *others]


def release_schema(task: TaskConfig, kind: Kind = "data") -> pa.Schema:
    """Return the schema of a task's tables, with what tells `datasets` that images are images."""
    found = columns(task, kind)
    features = {
        each.name: {"_type": "Image"}
        if each is IMAGE
        else {"_type": "Value", "dtype": VALUES[each.kind]}
        for each in found
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(each.name, each.kind) for each in found], metadata)
