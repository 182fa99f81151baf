"""Data files as the Hugging Face Hub names them: train-00000-of-00001.parquet, data/test-*.parquet.

Source: Hugging Face Hub documentation, "File names and splits"
"""

import re

from umc_ray.ingest.layouts.layout import SPLITS
from umc_ray.ingest.layouts.place import Place

_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}(-[0-9a-f]{16})?\.(parquet|arrow)")
_WHOLE = re.compile(r"(?P<split>\w+)\.parquet")


def hub_splits(folder: Place) -> dict[str, tuple[str, ...]]:
    """Return the files of each split, below a folder or its folder data; none: no such files."""
    places = [("", folder), ("data/", folder.below("data"))]
    for prefix, place in places:
        if found := _in(place.names, prefix):
            return found
    return {}


def _in(names: tuple[str, ...], prefix: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in names:
        shard, whole = _SHARD.fullmatch(name), _WHOLE.fullmatch(name)
        if shard is not None:
            split = shard["split"]
        elif whole is not None and whole["split"].split("_")[0] in SPLITS:
            split = whole["split"]
        else:
            continue
        first, _, rest = split.partition("_")
        known = "_".join(each for each in (SPLITS.get(first, first), rest) if each)
        found.setdefault(known, []).append(prefix + name)
    return {split: tuple(files) for split, files in found.items()}
