"""ImageNet (ILSVRC 2012, classification): a folder of images for each synset, or Parquet files.

The class of an image is its synset. Labels may be synsets (n01440764), their words as published
(tench, Tinca tinca), or the first of these (tench), where no other synset has the same.

    train/n01440764/n01440764_18.JPEG
    val/ILSVRC2012_val_00000001.JPEG         or val/n01751748/..., sorted into folders
    LOC_val_solution.csv                     classes of val/, or the two of the development kit:
    ILSVRC2012_validation_ground_truth.txt     a class number for each image,
    map_clsloc.txt                             the synset of each class number
    LOC_synset_mapping.txt, synset_words.txt words of the synsets

Kaggle has the images below ILSVRC/Data/CLS-LOC. meta.mat of the kit is not read.

Source: Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.layouts.hub_files import hub_splits
from umc_ray.ingest.layouts.huggingface import labels_in
from umc_ray.ingest.layouts.layout import SPLITS, Asked, Layout, choose, in_order, said
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.sources import IMAGES, TABLES, SourceFile
from umc_ray.ingest.text_files import lines, open_text

SYNSET = re.compile(r"n\d{8}")
SOLUTION = "LOC_val_solution.csv"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
NUMBERS = "map_clsloc.txt"
WORDS = ("LOC_synset_mapping.txt", "synset_words.txt", NUMBERS)

_IMAGES_BELOW = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_KITS = ("", "devkit/data", "ILSVRC2012_devkit_t12/data", "ILSVRC/devkit/data")
_SEEN = 20  # names of folders, by which train/ is recognized


@dataclass(frozen=True)
class ImageNet(Layout):
    """Images with the synset that is in them."""

    words: SourceFile | None = None  # with the words of the synsets
    truth: SourceFile | None = None  # with the classes of images in no folder of a synset
    numbers: SourceFile | None = None  # with the synsets of class numbers
    is_table: bool = False

    name: ClassVar[str] = "imagenet"
    suffixes: ClassVar[tuple[str, ...]] = (*IMAGES, *TABLES)

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize folders of synsets in train/, or the files with the classes of val/."""
        home = _home(place)
        if home is None:
            return None
        if _are_synsets(home.below("train")):
            return f"folders of synsets, such as {home.below('train').names[0]}"
        found = [name for name in (SOLUTION, TRUTH) if _find(place, name)]
        return found[0] if found and home.has("val") else None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the images of a split, and the files that say what they are."""
        tables = in_order({"": (place.name,)} if place.is_file else hub_splits(place))
        if tables:
            return cls._in_tables(place, asked, tables)
        split, folder, splits = _folder(place, asked)
        words = next((file for name in WORDS if (file := _find(place, name))), None)
        truth = None if _are_synsets(folder) else _truth_file(place, folder, asked, split)
        numbers = _find(place, NUMBERS)
        if truth is not None:
            _synsets_of(truth, numbers)  # what is wrong with it is said now
        notes = _missing(folder, words) if split == "train" else ()
        about = f"imagenet: {said(split, splits) if split else 'folders of synsets'}"
        return cls(place.uri, (folder.uri,), about, words, truth, numbers, notes=notes)

    @classmethod
    def _in_tables(cls, place: Place, asked: Asked, splits: Mapping[str, tuple[str, ...]]) -> Self:
        split, names = choose(place, asked, splits)
        paths = tuple(place.below(name).uri for name in names) if split else (place.uri,)
        about = f"imagenet: {said(split, splits)}, in Parquet"
        return cls(place.uri, paths, about, is_table=True)

    @property
    def are_images(self) -> bool:
        """Whether it is not in Parquet."""
        return not self.is_table

    @property
    def image_column(self) -> str | None:
        """The column of its Parquet files."""
        return "image" if self.is_table else None

    @property
    def labels(self) -> tuple[str, ...]:
        """The shortest names of the synsets that have a folder, in their order; else of all."""
        if self.is_table:
            return labels_in(Place(self.paths[0]).schema())
        named = {} if self.words is None else _names(self.words)
        folder = Place(self.paths[0])
        synsets = folder.names if _are_synsets(folder) else sorted(named)
        return tuple(named.get(synset, (synset,))[-1] for synset in synsets)

    def classes(self, uri: str) -> tuple[str, ...] | None:
        """Return the words of an image's synset, the first of them, and the synset."""
        *_, folder, name = uri.rsplit("/", 2)
        synset: str | None = folder
        if not SYNSET.fullmatch(folder):
            known = {} if self.truth is None else _synsets_of(self.truth, self.numbers)
            synset = known.get(name.partition(".")[0])
        if synset is None:
            return ()
        named = {} if self.words is None else _names(self.words)
        return (*named.get(synset, ()), synset)


def _folder(place: Place, asked: Asked) -> tuple[str, Place, tuple[str, ...]]:
    """Return a split, its folder, and all splits; of folders of synsets alone, there is none.

    Raises:
        DataError: there are no images, or no such split.
    """
    home = _home(place)
    if home is not None:
        found = {SPLITS[name]: home.below(name) for name in home.names if name in SPLITS}
        return (*choose(place, asked, in_order(found)), tuple(in_order(found)))
    if _are_synsets(place):
        return (*choose(place, asked, {"": place}), ())
    raise DataError(
        f"{place.uri} is not ImageNet: it has no train/ or val/, here or below "
        "ILSVRC/Data/CLS-LOC, no folders of synsets, no train-*.parquet"
    )


def _home(place: Place) -> Place | None:
    """Return the folder with train/ and val/."""
    places = (place.below(step) if step else place for step in _IMAGES_BELOW)
    return next((each for each in places if each.has("train") or each.has("val")), None)


def _are_synsets(folder: Place) -> bool:
    names = folder.names[:_SEEN]
    return bool(names) and all(SYNSET.fullmatch(name) for name in names)


def _find(place: Place, name: str) -> SourceFile | None:
    """Return a file of the development kit, wherever it is kept; also beside train/ itself."""
    parent = Place(place.uri.rstrip("/").rpartition("/")[0] or "/")
    homes = [place, parent] if _are_synsets(place) else [place]
    for home in homes:
        for step in _KITS:
            folder = home.below(*step.split("/")) if step else home
            if folder.has(name):
                return folder.below(name).state
    return None


def _truth_file(place: Place, folder: Place, asked: Asked, split: str) -> SourceFile | None:
    """Return the file with the classes of images in no folder of a synset.

    Raises:
        DataError: labels are needed, and there is none.
    """
    found = _find(place, SOLUTION) or _find(place, TRUTH)
    if split == "validation" and found is not None:
        return found
    if asked.use == "test":
        raise DataError(
            f"{folder.uri} has images without folders of synsets, and nothing says what they are: "
            f"add {SOLUTION}, or {TRUTH} with {NUMBERS} (meta.mat is not read)"
        )
    return None


def _missing(folder: Place, words: SourceFile | None) -> tuple[tuple[str, int], ...]:
    """Count the synsets that are named, and have no folder."""
    if words is None or not _are_synsets(folder):
        return ()
    count = len(_names(words).keys() - set(folder.names))
    what = f"synsets of {Place(words.uri).name} without a folder of images"
    return ((what, count),) if count else ()


def _text_lines(uri: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a small text file that say something."""
    with open_text(uri, "\n", None) as text:
        for number, line in enumerate(lines(text), start=1):
            if stripped := line.strip():
                yield number, stripped


@lru_cache(maxsize=8)
def _names(file: SourceFile) -> Mapping[str, tuple[str, ...]]:
    """Return the words of each synset, and the first of them where it is clear.

    Raises:
        DataError: a line has no synset.
    """
    words: dict[str, str] = {}
    is_numbered = file.uri.endswith(NUMBERS)
    for number, line in _text_lines(file.uri):
        synset, _, named = line.partition(" ")
        if not SYNSET.fullmatch(synset) or not named:
            raise DataError(f"{file.uri} line {number}: not a synset with words: {line[:60]!r}")
        words[synset] = named.split(" ", 1)[-1].replace("_", " ") if is_numbered else named
    all_words = Counter(words.values())
    firsts = Counter(each.partition(",")[0] for each in words.values())
    return {synset: _names_of(synset, each, all_words, firsts) for synset, each in words.items()}


def _names_of(
    synset: str, words: str, all_words: Counter[str], firsts: Counter[str]
) -> tuple[str, ...]:
    """Return the names of a synset that no other one has; two are a `crane`."""
    first = words.partition(",")[0]
    clear = [words] if all_words[words] == 1 else [f"{words} ({synset})"]
    return tuple(dict.fromkeys([*clear, *([first] if firsts[first] == 1 else [])]))


@lru_cache(maxsize=8)
def _synsets_of(truth: SourceFile, numbers: SourceFile | None) -> Mapping[str, str]:
    """Return the synsets of images, by the name of the file without its ending.

    Raises:
        DataError: a line has none, or a number without a synset.
    """
    if truth.uri.endswith(SOLUTION):
        return _solved(truth.uri)
    if numbers is None:
        raise DataError(
            f"{truth.uri} has class numbers: their synsets are in {NUMBERS}, which is missing "
            "(meta.mat is not read)"
        )
    fields = (line.split(" ") for _, line in _text_lines(numbers.uri))
    synset_by_number = {each[1]: each[0] for each in fields if len(each) > 1}
    found = {}
    for number, line in _text_lines(truth.uri):
        if line not in synset_by_number:
            raise DataError(f"{truth.uri} line {number}: no class {line!r} in {numbers.uri}")
        found[f"ILSVRC2012_val_{number:08d}"] = synset_by_number[line]
    return found


def _solved(uri: str) -> Mapping[str, str]:
    """Return what Kaggle's file says: the synset of the first box of each image."""
    found = {}
    for number, line in list(_text_lines(uri))[1:]:
        name, _, boxes = line.partition(",")
        synset = boxes.split(" ")[0]
        if not SYNSET.fullmatch(synset):
            raise DataError(f"{uri} line {number}: no synset after the name of the image")
        found[name] = synset
    return found
