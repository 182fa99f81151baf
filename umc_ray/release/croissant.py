"""croissant.json: the description of a release for machine-learning tools."""

import datetime
import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from umc_ray.campaign.history import History
from umc_ray.release.dataset import IMAGE, Column, DataFile

ABOUT = {
    "data": "labeled samples",
    "near_duplicates": "near-duplicates of labeled samples, with propagated labels,",
    "synthetic": "synthetic samples, which models or programs made,",
}


def croissant(history: History, version: str, files: Sequence[DataFile]) -> str:
    """Describe a release: its files, with one record set per file.

    Source: Akhtar et al. 2024, Croissant: A Metadata Format for ML-Ready Datasets.
    """
    import mlcroissant as mlc  # takes a second to import

    config = history.run.config
    rows = sum(file.rows for file in files if file.is_labeled)
    about = f"{config.release.description.strip()} " if config.release.description else ""
    metadata = mlc.Metadata(
        name=f"{config.name}-{version}",
        description=f"{about}{rows} labeled samples of campaign {config.name}, most of them "
        "actively selected; see README.md.",
        license=[config.release.license],
        cite_as=config.release.citation,
        version=re.sub(r"^v(\d+)$", r"\1.0.0", version),  # the format requires three numbers
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
                id=file.record_set,
                name=file.record_set,
                description=f"{ABOUT[file.kind]} of {file.domain_key}",
                fields=[_field(mlc, file, column) for column in file.columns],
            )
            for file in files
        ],
    )
    return json.dumps(metadata.to_json(), indent=1, default=str)


def _field(mlc: Any, file: DataFile, column: Column) -> Any:  # noqa: ANN401 - mlcroissant is not typed
    return mlc.Field(
        id=f"{file.record_set}/{column.name}",
        name=column.name,
        description=column.about,
        data_types=[getattr(mlc.DataType, _data_type(column))],
        repeated=pa.types.is_list(column.kind),
        source=mlc.Source(file_object=file.path, extract=mlc.Extract(column=column.name)),
    )


def _data_type(column: Column) -> str:
    if column is IMAGE:
        return "IMAGE_OBJECT"
    if pa.types.is_boolean(column.kind):
        return "BOOL"
    if pa.types.is_integer(column.kind):
        return "INTEGER"
    if pa.types.is_temporal(column.kind):
        return "DATE" if pa.types.is_date(column.kind) else "DATETIME"
    return "FLOAT" if pa.types.is_floating(column.kind) else "TEXT"
