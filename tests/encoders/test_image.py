import numpy as np
import pytest
from PIL import Image

from tests.encoders.images import jpeg, png
from umc_ray.encoders.image import decode
from umc_ray.ingest.pixels import decode_rgb

TURN_LEFT = 6  # EXIF: what is stored must be turned by a quarter to the right


def striped(mode="RGB"):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (8, 4), "red")
    image.paste("blue", (4, 0, 8, 4))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "CMYK"])
def test_colors_stay_what_they_are(mode):
    payload = jpeg(striped(mode), quality=100) if mode == "CMYK" else png(striped(mode))
    pixels = np.asarray(decode_rgb(payload)).astype(int)
    assert pixels.shape == (4, 8, 3)
    assert np.abs(pixels[0, 0] - [255, 0, 0]).max() < 12
    assert np.abs(pixels[0, 7] - [0, 0, 255]).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_becomes_grey_in_three_channels(mode):
    image = Image.new("I;16", (4, 4), 100) if mode == "I;16" else Image.new("L", (4, 4), 100)
    pixels = np.asarray(decode_rgb(png(image if mode == "I;16" else image.convert(mode))))
    assert pixels.shape == (4, 4, 3)
    assert np.all(pixels == pixels[:, :, :1])


def test_what_is_transparent_lies_on_white():
    drawing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (0, 0, 2, 4))
    pixels = np.asarray(decode_rgb(png(drawing)))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 3].tolist() == [255, 255, 255]
    assert decode(png(drawing), "L", 4)[0].tolist() == [0, 0, 255, 255]


def test_a_photo_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = TURN_LEFT
    upright = decode_rgb(jpeg(striped(), exif=exif, quality=100))
    assert upright.size == (4, 8)
    red, _, blue = upright.getpixel((1, 1))
    assert red > 200 and blue < 60


def test_a_palette_with_a_transparent_color_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 0
    pixels = np.asarray(decode_rgb(png(image)))
    assert pixels[0].tolist() == [[255, 255, 255], [200, 0, 0]]
