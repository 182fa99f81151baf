"""The row that an image file stands for: the file, and its class."""

from functools import lru_cache
from typing import Any

from umc_ray.errors import DataError
from umc_ray.ingest.validate import FOLDER, IMAGE_FILE, Rules
from umc_ray.tasks.task import TaskKind


def values_of_image(image: str | bytes, key: str, root: str, rules: Rules) -> dict[str, Any]:
    """Return the row that an image file stands for: the file, and the name of its class.

    That is the outermost folder below `root`, which all sources share, whose name is a label. For
    an image right in `root` it is `root` if its name is a label. Where a layout knows the names of
    the class, it is the first of them that is a label.
    """
    layout = rules.layout_of(image) if isinstance(image, str) else None
    named = None if layout is None else layout.classes(str(image))
    folders = tuple(key.split("/")[:-1]) if named is None else named
    others = (root.rstrip("/").rsplit("/", 1)[-1],) if named is None else ()
    label = _first_label(rules.kind, folders or others)
    return {IMAGE_FILE: image, FOLDER: label or (folders[0] if folders else None)}


@lru_cache(maxsize=1 << 14)
def _first_label(kind: TaskKind, names: tuple[str, ...]) -> str | None:
    """Return the first name that is a label; a large dataset asks the same a million times."""
    return next((name for name in names if _is_label(kind, name)), None)


def _is_label(kind: TaskKind, name: str) -> bool:
    try:
        kind.parse(name)
    except DataError:
        return False
    return True
