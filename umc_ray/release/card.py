"""The dataset card: README.md with front matter for Hugging Face."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa
import yaml

from umc_ray.campaign.history import History
from umc_ray.config.task import TaskConfig
from umc_ray.release.dataset import HF_TYPES, IMAGE, Column, DataFile, Kind, columns
from umc_ray.report.pages import render

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(history: History, version: str, files: Sequence[DataFile]) -> str:
    """Return the card of a release."""
    config = history.run.config
    return render(
        "card.md",
        front=yaml.safe_dump(front_matter(history, version, files), sort_keys=False),
        config=config,
        version=version,
        files=files,
        tasks={name: files_of(files, name, "data") for name in config.tasks},
        near_duplicates={
            name: near_duplicates
            for name in config.tasks
            if (near_duplicates := files_of(files, name, "near_duplicates"))
        },
        checks=history.checks,
        columns={
            name: {kind: columns(task, kind) for kind in get_args(Kind)}
            for name, task in config.tasks.items()
        },
        labels={name: kind.labels for name, kind in history.run.kinds.items()},
        metrics=history.metrics[-1],
        queried=len(history.batches),
        given=history.given,
        rounds=history.rounds,
        pools={
            str(domain_key): sum(part.rows for part in history.run.pool(domain_key))
            for domain_key in config.domains()
        },
    )


def front_matter(history: History, version: str, files: Sequence[DataFile]) -> Mapping[str, Any]:
    """Return the metadata for the Hugging Face Hub: one configuration with one split per task.

    Labels propagated to near-duplicates have their own configuration.
    """
    config = history.run.config
    categories = {_category(config.tasks[file.domain_key.task]) for file in files}
    configurations = {
        _config_name(name, kind): (name, kind)
        for kind in get_args(Kind)
        for name in config.tasks
        if files_of(files, name, kind)
    }
    return {
        "pretty_name": f"{config.name} {version}",
        "license": config.release.license,
        "task_categories": sorted(categories),
        "annotations_creators": ["found" if config.annotation.traits.knows_answers else "other"],
        "size_categories": [_size_category(sum(file.rows for file in files))],
        "tags": ["active-learning", "umc_ray"],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": f"{kind}/{task}/*.parquet"}],
            }
            for name, (task, kind) in configurations.items()
        ],
        "dataset_info": [_info(history, *each, files) for each in configurations.values()],
    }


def files_of(files: Sequence[DataFile], task: str, kind: Kind) -> list[DataFile]:
    """Return the files of a task and kind."""
    return [file for file in files if (file.domain_key.task, file.kind) == (task, kind)]


def _config_name(task: str, kind: Kind) -> str:
    return task if kind == "data" else f"{task}-{kind}"


def _info(history: History, task: str, kind: Kind, files: Sequence[DataFile]) -> dict[str, Any]:
    selected = files_of(files, task, kind)
    size, rows = sum(file.size for file in selected), sum(file.rows for file in selected)
    return {
        "config_name": _config_name(task, kind),
        "features": [
            {"name": column.name, **_hub_type(column)}
            for column in columns(history.run.config.tasks[task], kind)
        ],
        "splits": [{"name": "train", "num_bytes": size, "num_examples": rows}],
        "download_size": size,
        "dataset_size": size,
    }


def _hub_type(column: Column) -> dict[str, str]:
    if column is IMAGE:
        return {"dtype": "image"}
    if pa.types.is_list(column.kind):
        return {"list": HF_TYPES[column.kind.value_type]}
    return {"dtype": HF_TYPES[column.kind]}


def _category(task: TaskConfig) -> str:
    return f"{task.payload}-{task.task_kind().hub_category}"


def _size_category(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "n>1M")
