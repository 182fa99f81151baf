"""All layouts: an entry for each, and how a source's is found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from umc_ray.config.formats import FILES
from umc_ray.errors import DataError
from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.layouts.argilla import Argilla
from umc_ray.ingest.layouts.coco import Coco
from umc_ray.ingest.layouts.fasttext import FastText
from umc_ray.ingest.layouts.glue import Glue
from umc_ray.ingest.layouts.huggingface import HuggingFace
from umc_ray.ingest.layouts.imagenet import ImageNet
from umc_ray.ingest.layouts.label_studio import LabelStudio
from umc_ray.ingest.layouts.layout import Asked, Layout
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.layouts.prodigy import Prodigy
from umc_ray.ingest.layouts.squad import Squad
from umc_ray.ingest.layouts.webdataset import WebDataset
from umc_ray.ingest.sources import TABLES, WHOLE_FILES, BadRow, Listing, list_files
from umc_ray.ingest.validate import FOLDER, Rules

LAYOUTS: Mapping[str, type[Layout]] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            *(Argilla, Coco, FastText, Glue, HuggingFace, ImageNet),
            *(LabelStudio, Prodigy, Squad, WebDataset),
        )
    }
)
"""By name, which is a key of config.formats.FORMATS."""


def with_layouts(rules: Rules, sources: Sequence[str]) -> Rules:
    """Return how the files of sources are read, after a look at them.

    Raises:
        DataError: a source is missing, has not the layout that is asked for, or could have several,
            or some have images in files, others in tables.
    """
    found = {source: _fitting(rules, source) for source in sources}
    layouts = tuple(layout for layout in found.values() if layout is not None)
    tables = [layout for layout in layouts if not layout.are_images]
    if not rules.are_images or not tables:
        return replace(rules, layouts=layouts)
    if len(tables) < len(sources):
        said = "; ".join(
            f"{source}: {layout.about if layout else 'image files'}"
            for source, layout in found.items()
        )
        raise DataError(
            f"a domain has images in files or in tables, found both: {said}. Make them domains of "
            "their own"
        )
    label = "label" if rules.label == FOLDER else rules.label
    image = tables[0].image_column
    return replace(rules, are_images=False, image=image, label=label, layouts=layouts)


def _fitting(rules: Rules, source: str) -> Layout | None:
    """Return the layout of a source if it has samples such as the domain's.

    Without a format, plain files that the domain can read are not given up for others beside them:
    a folder of images may have COCO's annotations in it, one of tables an export as JSON.

    Raises:
        DataError: the layout that is asked for has other samples.
    """
    if rules.are_images:
        ignored = (*WHOLE_FILES, *TABLES)
    else:
        ignored = WHOLE_FILES if Place(source).ending(*TABLES) else ()
    is_asked = rules.asked.format is not None
    layout = recognize(source, rules.asked, () if is_asked else ignored)
    if layout is None or layout.are_images == rules.are_images or layout.image_column is not None:
        return layout
    if not is_asked:
        return None
    has, needs = ("image files", "rows") if layout.are_images else ("rows", "image files")
    raise DataError(
        f"{source}: {layout.about} has {has}, the domain reads {needs}: name the column as text, "
        "columns or image, or leave these out for image files"
    )


def recognize(source: str, asked: Asked, ignored: tuple[str, ...] = ()) -> Layout | None:
    """Return the layout of a source, without a look at files of some endings; None: plain files.

    Raises:
        DataError: it has not the layout that is asked for, or could have several.
    """
    if asked.format == FILES:
        return None
    place = Place(source, ignored)
    if asked.format is not None:
        if not (place.is_file or place.is_folder):
            raise DataError(f"{source} does not exist; a format is that of a file or folder")
        return LAYOUTS[asked.format].at(place, asked)
    if not (place.is_file or place.is_folder):  # a glob, or nothing: listing it will say which
        return None
    marks = {name: mark for name, each in LAYOUTS.items() if (mark := each.mark(place))}
    special = {name: mark for name, mark in marks.items() if not LAYOUTS[name].is_general}
    marks = special or marks
    if len(marks) > 1:
        said = " or ".join(f"{name} ({mark})" for name, mark in marks.items())
        raise DataError(f"{source} could be {said}: name one, as {{format: NAME, path: ...}}")
    if not marks:
        _refuse_split(source, asked)
        return None
    return LAYOUTS[next(iter(marks))].at(place, asked)


def _refuse_split(source: str, asked: Asked) -> None:
    if asked.split is not None or asked.task is not None:
        raise DataError(
            f"{source} has no split or task: it is not recognized as a published dataset. Name "
            f"its format, one of {', '.join(LAYOUTS)}"
        )


def labels_of(source: str, asked: Asked) -> list[str]:
    """Return the labels of a published dataset: those that it names, or those of its rows.

    Raises:
        DataError: it is none, or names no labels.
    """
    layout = recognize(source, asked)
    if layout is None and not (Place(source).is_file or Place(source).is_folder):
        raise DataError(f"{source} does not exist")
    if layout is None:
        raise DataError(
            f"{source} is not recognized as a published dataset. Name its format, one of "
            f"{', '.join(LAYOUTS)}"
        )
    found = layout.labels or sorted(_labels_in_rows(layout))
    if not found:
        raise DataError(f"{source} names no labels: {layout.about}")
    return list(found)


def _labels_in_rows(layout: Layout) -> set[str]:
    """Return all labels of rows that have a list of them."""
    table = TableFormat((), ("label", "labels"))
    names: set[str] = set()
    for path in layout.paths if layout.has_lists else ():
        for _, values in layout.read_rows(path, table, None, Counter()):
            found = None if isinstance(values, BadRow) else values.get("labels")
            names.update(found if isinstance(found, list) else ())
    return names


def layout_note(layout: Layout) -> str:
    """Return how files that were recognized are noted."""
    return f"files of the layout {layout.about}"


def list_split(rules: Rules, sources: Sequence[str], exclude: str) -> Listing:
    """List the files of sources that are read: of layouts, those of the split.

    A file in two sources belongs to the first.

    Raises:
        DataError: a source does not exist, has no matching file, or has the wrong suffix.
    """
    whole, seen = Listing({}, Counter()), set[str]()
    layouts = {layout.root: layout for layout in rules.layouts}
    for source in dict.fromkeys(sources):
        layout = layouts.get(source)
        paths = (source,) if layout is None else layout.paths
        listing = list_files(paths, rules.suffixes if layout is None else layout.suffixes, exclude)
        if layout is not None:
            whole.notes[layout_note(layout)] += len(listing.all)
            whole.notes.update(dict(layout.notes))
        for path, files in listing.files.items():
            new = [file for file in files if file.uri not in seen]
            whole.files.setdefault(path, []).extend(new)
            seen.update(file.uri for file in files)
        whole.notes.update(listing.notes)
    return whole
