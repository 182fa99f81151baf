"""COCO-style classification: a JSON file of images, annotations and categories.

A row has image (the path of the file), file_name, id, width, height, and the categories of the
image's annotations as label and labels.

Source: Lin et al. 2014, Microsoft COCO: Common Objects in Context; cocodataset.org, "Data format"
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat, Values, check_columns
from umc_ray.ingest.layouts.json_files import read_json
from umc_ray.ingest.layouts.labels import COLUMNS, with_labels, without_labels
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split, choose, said
from umc_ray.ingest.layouts.place import LOOKED_AT, Place
from umc_ray.ingest.readers import Rows
from umc_ray.ingest.sources import BadRow

STRAY = "annotations of images that the file does not list: ignored"

_KEYS = ("images", "annotations", "categories")
_ROBOFLOW = "_annotations.coco.json"
_TRIED = 20  # images, to find the folder that they are in


@dataclass(frozen=True)
class Coco(Layout):
    """Images with the categories of their annotations."""

    name: ClassVar[str] = "coco"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    has_lists: ClassVar[bool] = True

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize a JSON file with images and categories: here, in annotations/, in train/."""
        return next((f"images and categories in {name}" for name in _documents(place)), None)

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the file of a split."""
        if place.is_file:
            return cls(place.uri, (place.uri,), f"coco: {place.name}")
        splits = by_split(_documents(place))
        if not splits:
            raise DataError(
                f"{place.uri} has no JSON file with images, annotations and categories, here, in "
                f"annotations/ or as train/{_ROBOFLOW}"
            )
        split, names = choose(place, asked, splits)
        if len(names) > 1:
            raise DataError(f"{place.uri} has {' and '.join(names)}: name one of them as path")
        return cls(place.uri, (place.below(names[0]).uri,), f"coco: {said(split, splits)}")

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield a row for each image."""
        document = read_json(uri, table.encoding)
        if isinstance(document, BadRow):
            yield 1, document
            return
        missing = [key for key in _KEYS[:2] if not isinstance(document.get(key, []), list)]
        images = document.get("images")
        if not isinstance(images, list) or missing:
            yield 1, BadRow("unreadable file", "it is not COCO: it has no list of images")
            return
        columns = dict.fromkeys(key for each in images[:_TRIED] for key in _object(each))
        check_columns(uri, table, ("image", *columns, *COLUMNS))
        yield from enumerate(_rows(uri, document, notes), start=1)


def _documents(place: Place) -> Iterator[str]:
    """Name the files of COCO at a place."""
    if place.is_file:
        if place.name.endswith(".json") and _is_coco(place):
            yield place.name
        return
    named = [f"annotations/{name}" for name in place.below("annotations").ending(".json")]
    named += [f"{name}/{_ROBOFLOW}" for name in place.names if _has_roboflow(place, name)]
    for name in (*named, *place.ending(".json")[:LOOKED_AT]):
        if _is_coco(place.below(name)):
            yield name


def _has_roboflow(place: Place, name: str) -> bool:
    return name in ("train", "valid", "test") and place.below(name).has(_ROBOFLOW)


def _is_coco(file: Place) -> bool:
    """Look for two of the keys at both ends of a JSON object; images may be many between them."""
    head = file.head()
    if not head.lstrip("\ufeff \r\n\t").startswith("{"):
        return False
    ends = head + file.tail()
    found = [key for key in _KEYS if re.search(rf'"{key}"\s*:\s*\[', ends)]
    return len(found) >= 2 and ('"file_name"' in ends or '"category_id"' in ends)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(uri: str, document: Mapping[str, Any], notes: Counter[str]) -> Iterator[Values | BadRow]:
    images = [_object(each) for each in document["images"]]
    categories = {
        _object(each).get("id"): str(_object(each).get("name"))
        for each in document.get("categories", [])
    }
    given = _categories_of(document, {image.get("id") for image in images}, notes)
    folder, seen = _folder(uri, images), set[object]()
    for image in images:
        name, number = image.get("file_name"), image.get("id")
        if number in seen:
            yield BadRow("repeated id", f"image {number} is listed twice")
            continue
        seen.add(number)
        row = {**image, "image": f"{folder}/{name}" if name else None}
        if given is None:
            yield without_labels(row)
            continue
        unknown = [each for each in given.get(number, ()) if each not in categories]
        if unknown:
            yield BadRow("unknown category", f"image {number} has category_id {unknown[0]}")
            continue
        yield with_labels(row, [categories[each] for each in given.get(number, ())])


def _categories_of(
    document: Mapping[str, Any], known: set[object], notes: Counter[str]
) -> dict[object, list[object]] | None:
    """Return the category ids of each image; None where the file has no annotations at all."""
    annotations = document.get("annotations")
    if annotations is None:
        return None
    found: dict[object, list[object]] = {}
    for each in map(_object, annotations):
        if each.get("image_id") in known:
            found.setdefault(each.get("image_id"), []).append(each.get("category_id"))
        else:
            notes[STRAY] += 1
    return found


def _folder(uri: str, images: list[Mapping[str, Any]]) -> str:
    """Return the folder in which the first images are that are there.

    Raises:
        DataError: none is where it could be.
    """
    home, _, document = uri.rpartition("/")
    parent = home.rpartition("/")[0]
    last = document.removesuffix(".json").rpartition("_")[2]  # instances_val2017.json: val2017
    folders = [home, f"{home}/images", f"{home}/{last}"]
    folders += [f"{parent}/{last}", f"{parent}/images/{last}", f"{parent}/images", parent]
    names = [str(each.get("file_name")) for each in images[:_TRIED]]
    for folder in folders:
        if any(Place(f"{folder}/{name}").is_file for name in names):
            return folder
    if not names:
        return home
    raise DataError(f"{uri}: no image such as {names[0]} in {', '.join(folders)}")
