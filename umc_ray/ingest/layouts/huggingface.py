"""Hugging Face datasets: folders of save_to_disk (Arrow), and the Hub's Parquet files.

The names of classes, and which column has images, are in the schema of the files.

Source: Hugging Face datasets 2 to 4, Dataset.save_to_disk and DatasetDict.save_to_disk
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pyarrow as pa

from umc_ray.errors import DataError
from umc_ray.ingest.class_names import class_names
from umc_ray.ingest.layouts.hub_files import hub_splits
from umc_ray.ingest.layouts.layout import SPLITS, Asked, Layout, choose, in_order, joined
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.sources import TABLES

DICT, INFO, STATE = "dataset_dict.json", "dataset_info.json", "state.json"


@dataclass(frozen=True)
class HuggingFace(Layout):
    """A dataset in Arrow or Parquet, a folder or files for each split."""

    image: str | None = None

    name: ClassVar[str] = "huggingface"
    suffixes: ClassVar[tuple[str, ...]] = TABLES
    is_general: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize the files beside what save_to_disk writes, or the Hub's names of files."""
        for names in ((DICT,), (INFO, STATE)):
            if place.has(*names):
                return " and ".join(names)
        first = next(iter(hub_splits(place).values()), ())
        return f"files named as on the Hub, such as {first[0]}" if first else None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the files of a split."""
        if place.is_file:
            return cls(place.uri, (place.uri,), f"huggingface: {place.name}", _image(place))
        splits = _splits(place)
        if not splits:
            raise DataError(
                f"{place.uri} has neither {DICT}, nor {INFO} with {STATE}, nor files named as on "
                f"the Hub, such as train-00000-of-00001.parquet; it has {joined(place.names)}"
            )
        split, names = choose(place, asked, splits)
        paths = tuple(place.below(name).uri for name in names)
        known = ", ".join(name or "(only one)" for name in splits)
        about = f"huggingface: split {split} of {known}" if split else "huggingface: one split"
        return cls(place.uri, paths, about, _image(Place(paths[0])))

    @property
    def image_column(self) -> str | None:
        """The column that the schema says has images."""
        return self.image

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the only column of classes."""
        schema = Place(self.paths[0]).schema()
        return labels_in(schema)


def labels_in(schema: pa.Schema | None) -> tuple[str, ...]:
    """Return the names of the only column of classes that a schema has."""
    columns = [] if schema is None else [class_names(schema, name) for name in schema.names]
    found = [names for names in columns if names]
    return tuple(found[0]) if len(found) == 1 else ()


def _splits(place: Place) -> dict[str, tuple[str, ...]]:
    if place.has(DICT):
        return _saved_splits(place)
    if place.has(INFO, STATE):
        return {"": _saved_files(place)}
    return in_order(hub_splits(place))


def _saved_splits(place: Place) -> dict[str, tuple[str, ...]]:
    """Return the files of each split of a saved DatasetDict."""
    named = _document(place.below(DICT)).get("splits")
    if not isinstance(named, list) or not named:
        raise DataError(f"{place.below(DICT).uri} names no splits")
    if missing := [name for name in named if not place.below(str(name)).is_folder]:
        raise DataError(f"{place.uri} has no folder {missing[0]}, which {DICT} names")
    return {
        SPLITS.get(name, name): tuple(f"{name}/{file}" for file in _saved_files(place.below(name)))
        for name in map(str, named)
    }


def _saved_files(place: Place) -> tuple[str, ...]:
    """Return the files of a saved Dataset, as its state names them; caches beside them are none."""
    state = _document(place.below(STATE))
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"{place.uri} is a selection of rows beside its data: save it anew after "
            "dataset.flatten_indices()"
        )
    files = state.get("_data_files")
    named = [each.get("filename") for each in files or () if isinstance(each, Mapping)]
    if not named:
        raise DataError(f"{place.below(STATE).uri} names no data files")
    if missing := [str(name) for name in named if not place.has(str(name))]:
        raise DataError(f"{place.uri} has no {missing[0]}, which {STATE} names")
    return tuple(map(str, named))


def _document(place: Place) -> Mapping[str, Any]:
    try:
        found = json.loads(place.head(1 << 24))
    except ValueError as error:
        raise DataError(f"{place.uri} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _image(place: Place) -> str | None:
    """Return the only column of images, by the schema's features or by its type."""
    schema = place.schema()
    columns = [] if schema is None else [each.name for each in schema if _is_image(each.type)]
    return columns[0] if len(columns) == 1 else None


def _is_image(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {each.name for each in kind} == {"bytes", "path"}
