"""The one normal form of an image: what encoders read and what people see.

Upright, RGB with 8 bits per channel in sRGB, the first frame, without transparency. Pools keep the
bytes of the files; everybody who looks at an image decodes them here.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageChops, ImageCms, ImageStat, features

from umc_ray.errors import DataError
from umc_ray.ingest.depth import WIDE_MODES, is_wide_color, narrow_color, narrow_gray

VERSION = 2
"""Of these rules; embeddings that were made under others are not used."""

AVIF = ("AVIF",) if features.check("avif") else ()  # Pillow has it since 11.3
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", *AVIF)
HEIC_INSTALL = "pip install pillow-heif"
ORIENTATION = 0x0112

FRAMES = "several frames or pages: the first is used"
ON_WHITE = "transparent: laid on white"
ON_BLACK = "transparent and light: laid on black"
COLORFUL = 16  # a smaller difference between channels may come from compression
LIGHT = 191  # a visible part that is lighter on average would be lost on white

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""

_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True)
class Decoded:
    """An image in its normal form, and notes on what had to be decided for it."""

    image: Image.Image
    notes: tuple[str, ...]


def decode_rgb(payload: bytes) -> Image.Image:
    """Return the normal form of an image file."""
    return decode(payload).image


def decode(payload: bytes) -> Decoded:
    """Return the normal form of an image file, and what had to be decided."""
    with open_image(payload) as opened:
        frames = (FRAMES,) if has_frames(opened) else ()
        narrow, depth = _in_8_bits(opened)
        turn = _TURNS.get(opened.getexif().get(ORIENTATION, 1))
        profile = opened.info.get("icc_profile")
    upright = narrow if turn is None else narrow.transpose(turn)
    flat, background = _flatten(_in_srgb(upright, profile))
    flat.info = {}  # a saved copy would carry the profile that has just been applied
    return Decoded(flat, (*frames, *depth, *background))


def has_colors(image: Image.Image) -> bool:
    """Return whether an image in its normal form is more than shades of gray."""
    red, green, blue = image.resize((64, 64), Image.Resampling.NEAREST).split()
    differences = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
    return any(ImageStat.Stat(each).extrema[0][1] > COLORFUL for each in differences)


def open_image(payload: bytes) -> Image.Image:
    """Open an image file of a known format, without decoding its pixels.

    Raises:
        DataError: it needs a decoder that is not installed.
    """
    is_heic = payload[4:8] == b"ftyp" and payload[8:12] in _HEIC_BRANDS
    formats = _heif_formats() if is_heic else FORMATS
    return Image.open(io.BytesIO(payload), formats=formats)


def has_frames(opened: Image.Image) -> bool:
    """Return whether a file is animated or has pages; a photo's preview is neither."""
    return opened.format != "MPO" and getattr(opened, "is_animated", False)


def _heif_formats() -> tuple[str, ...]:
    try:
        from pillow_heif import register_heif_opener  # optional
    except ImportError as error:
        raise DataError(f"HEIC images need {HEIC_INSTALL}") from error
    register_heif_opener()
    return ("HEIF",)


def _in_8_bits(opened: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    wide_color = is_wide_color(opened)
    opened.load()
    if wide_color:
        image, note = narrow_color(opened)
        return image, (note,)
    return narrow_gray(opened) if opened.mode in WIDE_MODES else (opened, ())


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB, or to RGBA if anything is transparent."""
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        color = _in_srgb(layers.convert("RGB"), profile)
        color.putalpha(layers.getchannel("A"))
        return color
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode == "LAB":
        return _from_lab().apply(image)
    transform = _to_srgb(profile, image.mode) if profile else None
    return image.convert("RGB") if transform is None else transform.apply(image)


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return how an embedded color profile is applied; None if it is sRGB or fits no such image."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(embedded).startswith("sRGB"):
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC  # as browsers do
        return ImageCms.buildTransform(embedded, _SRGB, mode, "RGB", intent)
    except (ImageCms.PyCMSError, OSError):
        return None


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")


def _flatten(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Lay what is transparent on white; on black if its visible part is nearly white."""
    if image.mode == "RGB":
        return image, ()
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB"), ()
    is_light = _lightness(image.convert("L"), alpha) > LIGHT
    ground = Image.new("RGBA", image.size, "black" if is_light else "white")
    flat = Image.alpha_composite(ground, image).convert("RGB")
    return flat, (ON_BLACK if is_light else ON_WHITE,)


def _lightness(gray: Image.Image, alpha: Image.Image) -> float:
    """Return the mean lightness, weighted by how visible each pixel is."""
    visible = ImageStat.Stat(alpha).sum[0]
    return 255 * ImageStat.Stat(ImageChops.multiply(gray, alpha)).sum[0] / visible if visible else 0
