"""Whether an image file can be used."""

import PIL.Image
from PIL import ImageStat

from umc_ray.errors import DataError
from umc_ray.ingest.pixels import FORMATS, Decoded, decode, open_image
from umc_ray.ingest.sources import BadRow


def check_image(data: bytes, max_pixels: int) -> Decoded:
    """Check an image's size by its header, before anything is unpacked; then decode it.

    Raises:
        BadRow: it has more pixels than that, cannot be decoded, or is of one color.
    """
    decoded = _decode(data, max_pixels)
    ranges = ImageStat.Stat(decoded.image).extrema
    if all(low == high for low, high in ranges):
        color = ", ".join(str(low) for low, _ in ranges)
        raise BadRow("nothing to see", f"every pixel is rgb({color})")
    return decoded


def _decode(data: bytes, max_pixels: int) -> Decoded:
    try:
        with open_image(data) as image:
            if image.width * image.height > max_pixels:
                raise BadRow("image too large", f"{image.width} x {image.height} pixels")
        return decode(data)
    except BadRow:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise BadRow("image too large", str(error)) from error
    except DataError as error:
        raise BadRow("undecodable image", str(error)) from error
    except PIL.UnidentifiedImageError as error:
        raise BadRow("undecodable image", f"none of {', '.join(FORMATS)}") from error
    except Exception as error:  # decoders of broken files raise anything
        raise BadRow("undecodable image", f"{type(error).__name__} {error}") from error
