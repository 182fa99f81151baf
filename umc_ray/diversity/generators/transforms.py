"""Images of the wanted label, changed in the way in which a gap's images differ from them.

Suffixes: N images, M members of a gap, D embedding dimension, H and W pixels.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from umc_ray.config.generator import GeneratorConfig, TransformName
from umc_ray.diversity.generators.generator import (
    Embed,
    Exemplar,
    Generated,
    Payload,
    Request,
    as_image,
)
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.methods.energy_distance import energy_distance
from umc_ray.methods.identity import uniform

MATCHED = 48
"""Exemplars that each transform is tried on, and members of the gap to compare them with."""

SHIFT = 0.15  # of the side

Change = Callable[[Image.Image, int], Image.Image]
"""Changes an image, and keeps its size; the number is a seed."""


class Transforms:
    """Transforms exemplars; of all transforms it takes the one that the gap looks like."""

    def __init__(self, config: GeneratorConfig, embed: Embed) -> None:
        self.embed = embed
        self._matched: tuple[tuple[tuple[int, ...], tuple[Payload, ...]], str | None] | None = None
        self.changes = {
            f"{name} {how}": change
            for name in config.transforms
            for how, change in CHANGES[name].items()
        }

    def generate(self, request: Request) -> Sequence[Generated]:
        """Transform exemplars of the label; none if they look like the gap as they are."""
        matched = self.match(request)
        if matched is None:
            return []
        exemplars = _drawn(request.own, request.count, request.seed)
        return [
            Generated(
                payload=apply(self.changes[matched], each, request.seed),
                label=request.label,
                exemplars=(each.sample_id,),
                prompt=matched,
                seed=request.seed,
            )
            for each in exemplars
        ]

    def match(self, request: Request) -> str | None:
        """Name the transform of least energy distance between its images and the gap's.

        None if the gap has no members, or if the exemplars are nearer to them as they are.
        """
        if not request.members or not request.own:
            return None
        # A style of all labels is matched best with exemplars of all labels; and once for all.
        exemplars, members = _drawn(request.exemplars, MATCHED, 0), request.members[:MATCHED]
        asked = (tuple(each.sample_id for each in exemplars), members)
        if self._matched is None or self._matched[0] != asked:
            self._matched = asked, self._nearest(exemplars, members)
        return self._matched[1]

    def _nearest(self, exemplars: Sequence[Exemplar], members: Sequence[Payload]) -> str | None:
        members_MD = self.embed(members)
        plain_ND = self.embed([each.payload for each in exemplars])
        best, least = None, energy_distance(plain_ND, members_MD)
        for name, change in self.changes.items():
            changed_ND = self.embed([apply(change, each, 0) for each in exemplars])
            distance = energy_distance(changed_ND, members_MD)
            if distance < least:
                best, least = name, distance
        return best


def apply(change: Change, exemplar: Exemplar, seed: int) -> bytes:
    """Change an image file; PNG, in the one normal form of images."""
    changed = change(decode_rgb(as_image(exemplar.payload)), seed + exemplar.sample_id)
    sink = io.BytesIO()
    changed.save(sink, "PNG")
    return sink.getvalue()


def _drawn(exemplars: Sequence[Exemplar], count: int, seed: int) -> list[Exemplar]:
    """Draw exemplars, the same ones for the same seed."""
    ids_N = np.array([each.sample_id for each in exemplars], np.int64)
    order = np.argsort(uniform(ids_N, seed, "transforms"), kind="stable")[:count]
    return [exemplars[row] for row in order]


def background(image: Image.Image) -> tuple[int, int, int]:
    """Return the median color of the border, which fills what a turn or a shift leaves empty."""
    pixels_HW3 = np.asarray(image)
    border = (pixels_HW3[0], pixels_HW3[-1], pixels_HW3[:, 0], pixels_HW3[:, -1])
    red, green, blue = np.median(np.concatenate(border), axis=0).astype(int).tolist()
    return red, green, blue


def _turn(degrees: int) -> Change:
    smooth = Image.Resampling.BICUBIC if degrees % 90 else Image.Resampling.NEAREST
    return lambda image, _: image.rotate(degrees, smooth, fillcolor=background(image))


def _place(scale: float = 1, right: float = 0, down: float = 0) -> Change:
    """Scale about the center, then shift by shares of the sides."""

    def change(image: Image.Image, _: int) -> Image.Image:
        width, height = image.size
        left, top = width * (0.5 - (0.5 + right) / scale), height * (0.5 - (0.5 + down) / scale)
        return image.transform(
            image.size,
            Image.Transform.AFFINE,
            (1 / scale, 0, left, 0, 1 / scale, top),
            Image.Resampling.BICUBIC,
            fillcolor=background(image),
        )

    return change


def _brightness(factor: float) -> Change:
    return lambda image, _: ImageEnhance.Brightness(image).enhance(factor)


def _contrast(factor: float) -> Change:
    return lambda image, _: ImageEnhance.Contrast(image).enhance(factor)


def _blur(share: float) -> Change:
    return lambda image, _: image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def _noise(deviation: float) -> Change:
    def change(image: Image.Image, seed: int) -> Image.Image:
        pixels_HW3 = np.asarray(image, np.float32)
        rng = np.random.default_rng(abs(seed))
        noisy_HW3 = pixels_HW3 + rng.normal(0, 255 * deviation, pixels_HW3.shape)
        return Image.fromarray(np.clip(noisy_HW3, 0, 255).astype(np.uint8))

    return change


CHANGES: Mapping[TransformName, Mapping[str, Change]] = MappingProxyType(
    {
        "turn": {f"{each} degrees": _turn(each) for each in (90, 180, 270, -30, -15, 15, 30)},
        "flip": {
            "across": lambda image, _: ImageOps.mirror(image),
            "down": lambda image, _: ImageOps.flip(image),
        },
        "shift": {
            "left": _place(right=-SHIFT),
            "right": _place(right=SHIFT),
            "up": _place(down=-SHIFT),
            "down": _place(down=SHIFT),
        },
        "scale": {f"x {each}": _place(scale=each) for each in (0.6, 0.8, 1.25, 1.6)},
        "brightness": {f"x {each}": _brightness(each) for each in (0.5, 0.7, 1.4, 2)},
        "contrast": {f"x {each}": _contrast(each) for each in (0.3, 0.6, 1.6, 3)},
        "blur": {f"{each:.0%} of the side": _blur(each) for each in (0.03, 0.06)},
        "noise": {f"{each:.0%} of white": _noise(each) for each in (0.1, 0.25)},
        "invert": {"colors": lambda image, _: ImageOps.invert(image)},
    }
)
"""What is tried for each transform, by how it changes an image."""
