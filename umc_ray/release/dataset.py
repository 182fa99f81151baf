"""The columns of released tables, for Parquet, the dataset card and Croissant."""

import json
from collections.abc import Mapping, Sequence
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
    labels: tuple[str, ...] = ()  # that its values are of, if they are


TEXT = Column("text", pa.string(), "the sample")
IMAGE = Column("image", pa.binary(), "the image file as read, not in its normal form")

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
    Column("tied", pa.bool_(), "the answers do not say which label, and this one was drawn"),
    Column("cost", pa.float64(), "cost of all answers, in the campaign's unit"),
)
"""Of annotated samples, after the id, the payload and the label."""

NEAR_DUPLICATE_COLUMNS = (
    *COLUMNS[:3],
    Column("origin", pa.string(), "near_duplicate: this sample got the label of another"),
    Column("label_of", pa.int64(), "sample_id of the sample whose label it has"),
    Column("similarity", pa.float32(), "cosine similarity of the two samples' embeddings"),
)

SYNTHETIC_COLUMNS = (
    *COLUMNS[:2],
    Column(
        "standing",
        pa.string(),
        "accepted: people confirmed the label that it was made for; fixed: they gave it another; "
        "admitted: nobody saw it, a random sample of its kind was accepted",
    ),
    Column("made_for", pa.string(), "the label that it was made for"),
    Column("round", pa.int32(), "round in which people answered; 0: nobody was asked"),
    *COLUMNS[6:8],
    Column("quality", pa.float32(), "what people say it is, 1 to 5, on average; empty: nobody did"),
    Column("generator", pa.string(), "what made it, as the campaign file calls it"),
    Column("version", pa.string(), "of the generator's code and weights, or of its files"),
    Column("gap", pa.string(), "the gap that it was made for; empty: none in particular"),
    Column("seed", pa.int64(), "of the generator"),
    Column("exemplars", pa.list_(pa.int64()), "sample_id of the real samples it was made from"),
    Column(
        "exemplar_splits",
        pa.list_(pa.string()),
        "the splits of these samples, if they are released",
    ),
    Column("prompt", pa.string(), "what the generator was told"),
    Column(
        "copy_ratio", pa.float32(), "distance to the nearest real sample by that to the second one"
    ),
    Column(
        "distance",
        pa.float32(),
        "distance to the nearest real sample, by the median of real samples among themselves",
    ),
    Column(
        "model_agreement", pa.float32(), "probability that the ensemble gave the label made_for"
    ),
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
    pa.date32(): "date32",
}
"""The names of the types in Hugging Face datasets, where they are not those of Arrow."""

Feature = dict[str, object]

Kind = Literal["data", "near_duplicates", "synthetic"]
"""Annotated labels, labels propagated to near-duplicates, or synthetic samples.

Each kind has its own folder.
"""


@dataclass(frozen=True)
class DataFile:
    """A released table of one domain, with its statistics for the card."""

    domain_key: DomainKey
    kind: Kind
    split: str
    is_labeled: bool  # by the campaign: neither test data, near-duplicates nor synthetic
    columns: tuple[Column, ...]
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
        steps = self.path.removesuffix(".parquet").split("/")[1:]  # task, split if any, domain
        return "/".join(steps if self.kind == "data" else [*steps, self.kind])


def payload(task: TaskConfig) -> tuple[Column, ...]:
    """Return the column with a task's samples, or the two of pairs of texts."""
    if task.pair:
        return tuple(Column(name, pa.string(), f"the {name} of the pair") for name in task.pair)
    return (TEXT if task.payload == "text" else IMAGE,)


def score_columns(task: TaskConfig) -> list[Column]:
    """Return the columns from the last round's scores: the prediction and the measures."""
    kind = task.task_kind()
    measures = [Column(name, pa.float32(), about) for name, about in kind.measures_about.items()]
    predicted = "prediction of the last round's ensemble"
    return [
        Column("predicted", kind.target_type, predicted, kind.labels),
        Column("probability", pa.float32(), "probability that the prediction is right in full"),
        *measures,
    ]


def columns(task: TaskConfig, kind: Kind, is_replayed: bool, kept: pa.Schema) -> tuple[Column, ...]:
    """Return the columns of a task's tables, in order.

    Args:
        task: whose samples they are.
        kind: of the labels.
        is_replayed: labels were known, so nobody annotated.
        kept: the columns that pass through from the sources.
    """
    about = "the known label of its source" if is_replayed else "the consensus of the annotators"
    if kind == "near_duplicates":
        about = "the label of the near-duplicate that label_of names"
    rest: Mapping[Kind, Sequence[Column]] = {
        "data": [*COLUMNS, *score_columns(task)],
        "near_duplicates": NEAR_DUPLICATE_COLUMNS,
        "synthetic": SYNTHETIC_COLUMNS,
    }
    target = task.task_kind()
    label = Column("label", target.target_type, about, target.labels)
    passed = [Column(field.name, field.type, "as the source has it") for field in kept]
    passed = [] if kind == "synthetic" else passed
    return (SAMPLE_ID, *payload(task), label, *rest[kind], *passed)


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of a table; its metadata declares images to `datasets`."""
    features = {column.name: hub_feature(column) for column in columns}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(column.name, column.kind) for column in columns], metadata)


def hub_feature(column: Column) -> Feature:
    """Return the type of a column as Hugging Face datasets declares it in a file."""
    if column is IMAGE:
        return {"_type": "Image"}
    return _feature(column.kind)


def hub_dtype(kind: pa.DataType) -> str:
    """Return the name of a type in Hugging Face datasets."""
    return HF_TYPES.get(kind, str(kind))


def _feature(kind: pa.DataType) -> Feature:
    if pa.types.is_list(kind):
        return {"_type": "List", "feature": _feature(kind.value_type)}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return _value(kind)


def _value(kind: pa.DataType) -> Feature:
    return {"_type": "Value", "dtype": hub_dtype(kind)}
