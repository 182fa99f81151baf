"""croissant.json: the release in the format that machine-learning tools read data sets by."""

import datetime
import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from umc_ray.campaign.history import History
from umc_ray.release.dataset import IMAGE, Column, DataFile, columns

ABOUT = {
    "data": "the labeled samples",
    "near_duplicates": "samples that are nearly the same as labeled ones, with their labels,",
}


def croissant(history: History, version: str, files: Sequence[DataFile]) -> str:
    """Describe a release: its files, and a set of records for each.

    Source: Akhtar et al. 2024, Croissant: A Metadata Format for ML-Ready Datasets.
    """
    import mlcroissant as mlc  # takes a second to import

    config = history.run.config
    rows = sum(file.rows for file in files if file.kind == "data")
    metadata = mlc.Metadata(
        name=f"{config.name}-{version}",
        description=f"{rows} samples that people labeled in campaign {config.name}, most of them "
        "chosen for being informative; README.md tells how.",
        version=re.sub(r"^v(\d+)$", r"\1.0.0", version),  # as the format wants it
        date_published=datetime.datetime.now(datetime.UTC),
        distribution=[
            mlc.FileObject(
                id=file.path,
                name=file.path,
                content_url=file.path,
                content_size=f"{file.size} B",
                encoding_formats=["application/x-parquet"],
                sha256=file.sha256,
            )
            for file in files
        ],
        record_sets=[
            mlc.RecordSet(
                id=file.records,
                name=file.records,
                description=f"{ABOUT[file.kind]} of {file.domain_key}",
                fields=[
                    _field(mlc, file, column)
                    for column in columns(config.tasks[file.domain_key.task], file.kind)
                ],
            )
            for file in files
        ],
    )
    return json.dumps(metadata.to_json(), indent=1, default=str)


def _field(mlc: Any, file: DataFile, column: Column) -> Any:  # noqa: ANN401 - it has no types
    return mlc.Field(
        id=f"{file.records}/{column.name}",
        name=column.name,
        description=column.about,
        data_types=[getattr(mlc.DataType, _data_type(column))],
        source=mlc.Source(file_object=file.path, extract=mlc.Extract(column=column.name)),
    )


def _data_type(column: Column) -> str:
    if column is IMAGE:
        return "IMAGE_OBJECT"
    if pa.types.is_boolean(column.kind):
        return "BOOL"
    if pa.types.is_integer(column.kind):
        return "INTEGER"
    return "FLOAT" if pa.types.is_floating(column.kind) else "TEXT"
