"""Pixels that are no 8-bit numbers, scaled to 0..255 by fixed rules.

The rules look at one image only, so a file looks the same in a pool, on the page and at an
endpoint. They choose among few fixed ranges rather than stretch each image: images of one range
keep their brightness relative to each other, and 12-bit data in a 16-bit file is not black.

Suffixes: H and W pixels.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageStat

INTEGER_RANGES = ((0, 255), (0, 4095), (0, 65535))
FLOAT_RANGES = ((0, 1), (-1, 1), *INTEGER_RANGES)
WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

UPPER_BITS = "16 bits per channel in color: the upper 8 bits are used"
UPPER_OF_12 = "12 bits per channel in color: the upper 4 bits are used"
NOT_FINITE = "NaN or infinite pixels: NaN is painted black"
STRETCHED = "beyond the usual ranges: each image stretched from its lowest to its highest value"

DARK = (
    "dark, with nearly all pixels below a quarter of the range that they are scaled from: convert "
    "these images to 8 bits with a scale of your own"
)
FEW_PIXELS = 0.001  # of an image: these may be hot

_WHITE_IS_ZERO = 0
_PHOTOMETRIC = 262  # the TIFF tag

Wide = npt.NDArray[np.integer | np.floating]


def is_wide_color(image: Image.Image) -> bool:
    """Return whether an opened file holds colors of 16 bits, of which Pillow reads the upper 8."""
    stored = str([tile[3] for tile in getattr(image, "tile", [])])
    return image.mode not in WIDE_MODES and ";16" in stored


def narrow_color(image: Image.Image) -> tuple[Image.Image, str]:
    """Return the upper 8 bits of colors; of 12-bit colors, those that are not empty; and a note."""
    bands = list(image.split())
    colors = bands[: len(image.getbands()) - image.mode.endswith("A")]
    if max(ImageStat.Stat(band).extrema[0][1] for band in colors) >= 16:
        return image, UPPER_BITS
    brighter = [band.point([min(255, 17 * value) for value in range(256)]) for band in colors]
    return Image.merge(image.mode, brighter + bands[len(colors) :]), UPPER_OF_12


def narrow_gray(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return a gray image of integers or floats in 8 bits, and notes that name the rule."""
    pixels_HW, notes = to_bytes(np.asarray(image))
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels_HW = 255 - pixels_HW
    return Image.fromarray(pixels_HW), notes


def to_bytes(values_HW: Wide) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Scale numbers to 0..255: from the first usual range that holds them, else from their own."""
    if values_HW.dtype.kind == "f":
        return _floats_to_bytes(values_HW)
    low, high = int(values_HW.min()), int(values_HW.max())
    found = _usual_range(low, high, INTEGER_RANGES)
    note = _note("integers" if found is None else f"{found[1].bit_length()}-bit integers", found)
    if found is None:
        return _scale(values_HW, low, high), (note,)
    table = _scale(np.arange(found[1] + 1), *found)  # much faster than arithmetic on each pixel
    return table[values_HW], (note, *_dark(values_HW, found))


def _floats_to_bytes(values_HW: Wide) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    finite_HW = np.isfinite(values_HW)
    if not finite_HW.any():
        return np.zeros(values_HW.shape, np.uint8), (NOT_FINITE,)
    low, high = (float(end(values_HW, where=finite_HW, initial=start)) for end, start in _ENDS)
    found = _usual_range(low, high, FLOAT_RANGES)
    notes = () if finite_HW.all() else (NOT_FINITE,)
    bottom, top = found or (low, high)
    known_HW = np.nan_to_num(values_HW, nan=bottom, posinf=top, neginf=bottom)
    dark = () if found is None else _dark(known_HW, found)
    return _scale(known_HW, bottom, top), (_note("floats", found), *dark, *notes)


_ENDS = ((np.min, np.inf), (np.max, -np.inf))


def _usual_range(
    low: float, high: float, ranges: tuple[tuple[int, int], ...]
) -> tuple[int, int] | None:
    return next((each for each in ranges if each[0] <= low and high <= each[1]), None)


def _dark(values_HW: Wide, found: tuple[int, int]) -> tuple[str, ...]:
    """Note that a range of more than 8 bits is hardly used, or chosen for a few pixels."""
    low, high = found
    if low < 0 or high <= 255:
        return ()
    bright = np.count_nonzero(values_HW > high / 4)
    return (DARK,) if bright <= FEW_PIXELS * values_HW.size else ()


def _scale(values: Wide, low: float, high: float) -> npt.NDArray[np.uint8]:
    if low == high:
        return np.zeros(values.shape, np.uint8)
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _note(kind: str, found: tuple[int, int] | None) -> str:
    if found is None:
        return f"{kind} {STRETCHED}"
    return f"{kind}: {found[0]}..{found[1]} scaled to 0..255"
