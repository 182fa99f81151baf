"""Images for the tests of encoders, made as they run."""

import io

import numpy as np
from PIL import Image


def noise(seed, size=(40, 56), mode="RGB"):
    """Bytes of a PNG of colored noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return png(Image.fromarray(pixels).convert(mode))


def png(image):
    return _bytes(image, "PNG")


def jpeg(image, **settings):
    return _bytes(image, "JPEG", **settings)


def _bytes(image, form, **settings):
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()
