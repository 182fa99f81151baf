"""What a published layout is: the files of a split, and the rows that are in them.

A layout is one file beside this one, with one class, and an entry in registry.py. Nothing else in
umc_ray knows it, but for its columns in config/formats.py.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeVar

from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.readers import Rows, read_rows
from umc_ray.ingest.sources import TABLES
from umc_ray.records import Split

T = TypeVar("T")

SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of splits as they are found, and the ones that they are known by."""

_PREFERRED: Mapping[Split, tuple[str, ...]] = {
    "pool": ("train",),
    "synthetic": ("train",),
    "test": ("validation", "validation_matched", "test"),
    "target": (),
}
"""Which published split is read where the campaign names none, the first that is there."""


@dataclass(frozen=True)
class Asked:
    """What the campaign says of a source beside its paths, and what it is for."""

    use: Split
    format: str | None = None
    split: str | None = None
    task: str | None = None


PLAIN = Asked("pool")
"""Nothing is said of a source."""


@dataclass(frozen=True)
class Layout:
    """A source in a published layout."""

    root: str  # the source
    paths: tuple[str, ...]  # files, globs and folders of the split
    about: str  # in a few words: which layout, and what of it
    notes: tuple[tuple[str, int], ...] = field(default=(), kw_only=True)  # on what is there

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = TABLES
    has_lists: ClassVar[bool] = False  # its rows have a list of their labels, labels
    is_general: ClassVar[bool] = False  # it gives way to layouts that say more of the same files

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Return the mark by which the layout is recognized; None: it is not there."""
        raise NotImplementedError

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Return the layout at a place.

        Raises:
            DataError: it is not there, or has no such split.
        """
        raise NotImplementedError

    @property
    def are_images(self) -> bool:
        """Whether its files are images, and not rows."""
        return False

    @classmethod
    def of_file(cls, place: Place) -> Self:
        """Return the layout of one file, all of which is read."""
        return cls(place.uri, (place.uri,), f"{cls.name}: {place.name}")

    @classmethod
    def of_split(cls, place: Place, asked: Asked, splits: Mapping[str, Sequence[str]]) -> Self:
        """Return the layout of the files of a folder that are in the split that is asked for.

        Raises:
            DataError: there is no such split.
        """
        split, names = choose(place, asked, splits)
        paths = tuple(place.below(name).uri for name in names)
        return cls(place.uri, paths, f"{cls.name}: {said(split, splits)}")

    @property
    def image_column(self) -> str | None:
        """The column with images of a table, where the campaign names none."""
        return None

    def read_rows(
        self, uri: str, table: TableFormat, groups: range | None, notes: Counter[str]
    ) -> Rows:
        """Yield the numbered rows of one of its files, and count what had to be decided."""
        return read_rows(uri, table, groups)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it names; none where only its rows have them."""
        return ()

    def classes(self, uri: str) -> tuple[str, ...] | None:
        """Return the names of an image file's class; None: those of its folders."""
        return None

    def has(self, uri: str) -> bool:
        """Return whether a file is one of its own."""
        return uri == self.root or uri.startswith(f"{self.root.rstrip('/')}/")


def split_name(text: str) -> str | None:
    """Return the split that the words of a file's or folder's name speak of; None: of none."""
    words = re.split(r"[^a-z]+", text.lower())  # instances_val2017.json: val
    found = {SPLITS[word] for word in words if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def choose(place: Place, asked: Asked, splits: Mapping[str, T]) -> tuple[str, T]:
    """Return the split that is asked for, or the one for its use.

    Raises:
        DataError: there is none; says which there are.
    """
    if asked.split is not None:
        known = SPLITS.get(asked.split, asked.split)
        names: Sequence[str] = (asked.split, known, f"{known}_matched")  # of MNLI
    else:
        names = _PREFERRED[asked.use] if len(splits) > 1 else tuple(splits)
    found = next((name for name in names if name in splits), None)
    if found is not None:
        return found, splits[found]
    there = ", ".join(splits) or "none"
    if asked.split is not None:
        raise DataError(f"{place.uri} has no split {asked.split!r}; its splits: {there}")
    raise DataError(
        f"{place.uri}: which split is meant? Name one as split: in the {asked.use} source; "
        f"its splits: {there}"
    )


def in_order(splits: Mapping[str, T]) -> dict[str, T]:
    """Return splits as one speaks of them: train, validation, test, and the others by name."""
    known = list(dict.fromkeys(SPLITS.values()))

    def place(split: str) -> tuple[int, str]:
        first = split.split("_")[0]
        return (known.index(first) if first in known else len(known), split)

    return {split: splits[split] for split in sorted(splits, key=place)}


def by_split(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Sort files by the splits that their names speak of; all are one if a name speaks of none."""
    every, found = list(names), dict[str, list[str]]()
    for name in every:
        found.setdefault(split_name(name) or "", []).append(name)
    if "" in found:
        return {"": tuple(every)}
    return in_order({split: tuple(files) for split, files in found.items()})


def said(split: str, splits: Iterable[str]) -> str:
    """Say which split is read, of which."""
    return f"split {split} of {', '.join(splits)}" if split else "all files"


def joined(found: Sequence[str], most: int = 3) -> str:
    """Return some of many names."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
