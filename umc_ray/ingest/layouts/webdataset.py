"""WebDataset shards: tar files of images, with what belongs to an image beside it.

How they are read is in umc_ray/ingest/archives.py; this says which of them are a split.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from umc_ray.errors import DataError
from umc_ray.ingest.layouts.layout import Asked, Layout, by_split
from umc_ray.ingest.layouts.place import Place
from umc_ray.ingest.sources import ARCHIVES


@dataclass(frozen=True)
class WebDataset(Layout):
    """Shards such as imagenet-train-000000.tar."""

    name: ClassVar[str] = "webdataset"
    suffixes: ClassVar[tuple[str, ...]] = ARCHIVES

    @classmethod
    def mark(cls, place: Place) -> str | None:
        """Recognize shards of several splits; those of one are read as any archives."""
        splits = by_split(place.ending(*ARCHIVES))
        first = next(iter(splits.values()), ("",))[0]
        return f"shards of several splits, such as {first}" if len(splits) > 1 else None

    @classmethod
    def at(cls, place: Place, asked: Asked) -> Self:
        """Find the shards of a split."""
        if place.is_file:
            return cls.of_file(place)
        splits = by_split(place.ending(*ARCHIVES))
        if not splits:
            raise DataError(f"{place.uri} has no shards: files that end in {' '.join(ARCHIVES)}")
        return cls.of_split(place, asked, splits)

    @property
    def are_images(self) -> bool:
        """Its samples are images."""
        return True
