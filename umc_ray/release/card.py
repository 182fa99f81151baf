"""The dataset card: README.md with front matter for Hugging Face."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import pyarrow as pa
import yaml

from umc_ray.campaign.history import History
from umc_ray.config.task import TaskConfig
from umc_ray.release.dataset import IMAGE, Column, DataFile, Kind, hub_dtype
from umc_ray.report.diversity import diversity_lines
from umc_ray.report.fairness import ethics_lines
from umc_ray.report.pages import render
from umc_ray.report.robustness import robustness_lines

LABELS_SHOWN = 30
"""In the table of labels by domain."""

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class ShownLabels:
    """The labels that have a column in a table of counts; nobody reads one of a thousand."""

    shown: tuple[str, ...]
    others: int

    @classmethod
    def of(cls, labels: Sequence[str], files: Sequence[DataFile]) -> Self:
        """Choose those with the most samples, and keep their order."""
        counts = Counter[str]()
        for file in files:
            counts.update(file.classes)
        most = set(sorted(labels, key=lambda label: -counts[label])[:LABELS_SHOWN])
        shown = tuple(label for label in labels if label in most)
        return cls(shown, len(labels) - len(shown))

    def of_others(self, file: DataFile) -> int:
        """Count the samples of a file with other labels."""
        return sum(n for label, n in file.classes.items() if label not in self.shown)


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
        synthetic={
            name: made for name in config.tasks if (made := files_of(files, name, "synthetic"))
        },
        acceptance=history.acceptance,
        checks=history.checks,
        splits=bool(config.release.splits),
        diversity=diversity_lines(history),
        robustness=robustness_lines(history),
        ethics=ethics_lines(history),
        labels={
            name: ShownLabels.of(kind.labels, files_of(files, name, "data"))
            for name, kind in history.run.kinds.items()
        },
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
                "data_files": [
                    {"split": split, "path": _glob(split_files)}
                    for split, split_files in _by_split(files_of(files, task, kind)).items()
                ],
            }
            for name, (task, kind) in configurations.items()
        ],
        "dataset_info": [_info(*each, files) for each in configurations.values()],
    }


def files_of(files: Sequence[DataFile], task: str, kind: Kind) -> list[DataFile]:
    """Return the files of a task and kind."""
    return [file for file in files if (file.domain_key.task, file.kind) == (task, kind)]


def _config_name(task: str, kind: Kind) -> str:
    return task if kind == "data" else f"{task}-{kind}"


def _info(task: str, kind: Kind, files: Sequence[DataFile]) -> dict[str, Any]:
    selected = files_of(files, task, kind)
    size = sum(file.size for file in selected)
    return {
        "config_name": _config_name(task, kind),
        "features": [{"name": each.name, **_hub_type(each)} for each in selected[0].columns],
        "splits": [
            {
                "name": split,
                "num_bytes": sum(file.size for file in split_files),
                "num_examples": sum(file.rows for file in split_files),
            }
            for split, split_files in _by_split(selected).items()
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _by_split(files: Sequence[DataFile]) -> dict[str, list[DataFile]]:
    found: dict[str, list[DataFile]] = {}
    for file in files:
        found.setdefault(file.split, []).append(file)
    return found


def _glob(files: Sequence[DataFile]) -> str:
    return f"{files[0].path.rpartition('/')[0]}/*.parquet"


def _hub_type(column: Column) -> dict[str, Any]:
    """Return the type of a column for `datasets`.

    Labels are text in the files, which pandas and others show. `datasets` turns them into the
    numbers of a ClassLabel, as it is told here.
    """
    if column is IMAGE:
        return {"dtype": "image"}
    is_list = pa.types.is_list(column.kind)
    value = column.kind.value_type if is_list else column.kind
    dtype: Any = hub_dtype(value)
    if column.labels and value == pa.string():
        dtype = {"class_label": {"names": {str(i): name for i, name in enumerate(column.labels)}}}
    return {"list" if is_list else "dtype": dtype}


def _category(task: TaskConfig) -> str:
    return f"{task.payload}-{task.task_kind().hub_category}"


def _size_category(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "n>1M")
