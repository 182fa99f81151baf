"""Images for browsers: files that they paint as encoders see them, or PNGs of the normal form."""

import io

from PIL import Image

from umc_ray.ingest.depth import is_wide_color
from umc_ray.ingest.pixels import ORIENTATION, decode_rgb, has_frames, open_image

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with more pictures behind the first
    "WEBP": "image/webp",
}
_LOSSLESS_MODES = ("1", "L", "P", "RGB")
_FAST = 1  # a level of compression: the page waits for it


def browser_image(payload: bytes) -> tuple[bytes, str]:
    """Return an image file that a browser paints in its normal form, and its media type."""
    with open_image(payload) as opened:
        if _is_painted_alike(opened, payload):
            return payload, MEDIA_TYPES[str(opened.format)]
    png = io.BytesIO()
    decode_rgb(payload).save(png, "PNG", compress_level=_FAST)
    return png.getvalue(), "image/png"


def _is_painted_alike(opened: Image.Image, payload: bytes) -> bool:
    if opened.format not in MEDIA_TYPES or has_frames(opened):
        return False
    is_jpeg = opened.format in ("JPEG", "MPO")
    return _is_jpeg_alike(opened) if is_jpeg else _is_lossless_alike(opened, payload)


def _is_jpeg_alike(opened: Image.Image) -> bool:
    """Browsers turn a JPEG by its EXIF and apply its color profile; other metadata they ignore."""
    exif = Image.Exif()
    exif.load(opened.info.get("exif", b""))
    knows_turn = exif.get(ORIENTATION, 1) == opened.getexif().get(ORIENTATION, 1)
    is_plain = opened.mode == "L" and "icc_profile" not in opened.info
    return knows_turn and (is_plain or opened.mode == "RGB")


def _is_lossless_alike(opened: Image.Image, payload: bytes) -> bool:
    """Anything that browsers and decoders might treat differently makes a difference."""
    special = {"transparency", "icc_profile", "gamma", "chromaticity", "exif"} & opened.info.keys()
    is_turned = b"eXIf" in payload or b"tiff:Orientation" in payload  # even behind the pixels
    return (
        opened.mode in _LOSSLESS_MODES
        and not special
        and not is_turned
        and not is_wide_color(opened)
    )
