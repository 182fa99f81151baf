import numpy as np
import pytest
from PIL import Image

from tests.ingest.pictures import COLOR, GLYPH, GRAY, forms, saved, tif
from umc_ray.encoders.image import decode as decode_for_encoder
from umc_ray.ingest import depth
from umc_ray.ingest.pixels import (
    FRAMES,
    ON_BLACK,
    ON_WHITE,
    decode,
    decode_rgb,
    has_colors,
    open_image,
)

FORMS = {form.name: form for form in forms()}


def difference(first, second):
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


@pytest.mark.parametrize("name", list(FORMS))
def test_a_picture_is_the_same_in_every_form(name):
    form = FORMS[name]
    image = decode_rgb(form.payload)
    assert (image.mode, image.size) == ("RGB", form.pixels.shape[1::-1])
    assert difference(image, form.pixels) <= form.tolerance


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("PNG RGB", ()),
        ("JPEG 6", ()),
        ("MPO", ()),
        ("PNG opaque RGBA", ()),
        ("PNG 16 bits", ("16-bit integers: 0..65535 scaled to 0..255",)),
        ("TIFF 12 bits", ("12-bit integers: 0..4095 scaled to 0..255",)),
        ("TIFF 8 of 16 bits", ("8-bit integers: 0..255 scaled to 0..255",)),
        ("TIFF signed", (f"integers {depth.STRETCHED}",)),
        ("TIFF float -1..1", ("floats: -1..1 scaled to 0..255",)),
        ("TIFF float any", (f"floats {depth.STRETCHED}",)),
        ("TIFF float with holes", ("floats: 0..1 scaled to 0..255", depth.NOT_FINITE)),
        ("PNG 16-bit RGB", (depth.UPPER_BITS,)),
        ("PNG 12-bit RGB", (depth.UPPER_OF_12,)),
        ("PNG black glyph", (ON_WHITE,)),
        ("GIF palette with transparency", (ON_BLACK,)),
        ("GIF of two frames", (FRAMES,)),
        ("PNG of two frames", (FRAMES,)),
        ("TIFF of two frames", (FRAMES,)),
        ("WEBP of two frames", (FRAMES,)),
    ],
)
def test_what_had_to_be_decided_is_noted(name, notes):
    assert decode(FORMS[name].payload).notes == notes


def test_images_of_one_depth_keep_their_brightness_relative_to_each_other():
    bright, dark = (decode_rgb(tif(GRAY.astype(np.uint16) * times)) for times in (256, 64))
    assert difference(np.asarray(bright) / 4, dark) <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 255), (256, 4095), (4096, 65535)])
def test_the_smallest_usual_depth_that_holds_an_image_is_its_range(low, high):
    top = {255: 255, 4095: 4095, 65535: 65535}[high]
    for value in (low, high):
        pixels, _ = depth.to_bytes(np.array([[0, value]], np.uint16))
        assert pixels.tolist() == [[0, round(255 * value / top)]]


@pytest.mark.parametrize(
    ("bright", "top", "is_dark"),
    [(0, 9700, True), (1, 60_000, True), (3, 60_000, False), (1, 4000, True), (0, 255, False)],
)
def test_a_range_that_a_few_pixels_decide_or_that_none_fills_is_noted(bright, top, is_dark):
    pixels_HW = np.linspace(0, min(top, 900), 2000).astype(np.uint16).reshape(40, 50)
    pixels_HW[0, :bright] = top
    pixels_HW[1, 0] = top if not bright else 0
    _, notes = depth.to_bytes(pixels_HW)
    assert (depth.DARK in notes) == is_dark


def test_an_image_without_a_finite_pixel_is_black():
    pixels, notes = depth.to_bytes(np.full((2, 2), np.nan, np.float32))
    assert (pixels.max(), notes) == (0, (depth.NOT_FINITE,))


def test_an_image_that_is_wholly_transparent_shows_nothing():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert decode_rgb(saved(clear, "PNG")).getextrema() == ((255, 255),) * 3


def test_colors_are_seen_and_the_noise_of_compression_is_not():
    assert has_colors(Image.fromarray(COLOR))
    noisy = np.repeat(GRAY[:, :, None], 3, axis=2)
    noisy[:, :, 0] += noisy[:, :, 0] < 245
    assert not has_colors(Image.fromarray(noisy))


def test_a_broken_color_profile_is_ignored():
    payload = saved(Image.fromarray(COLOR), "PNG", icc_profile=b"no profile")
    assert difference(decode_rgb(payload), COLOR) == 0


def test_a_saved_copy_of_the_normal_form_is_the_normal_form():
    for name in ("PNG with a profile", "PNG palette with transparency", "PNG turned"):
        once = decode_rgb(FORMS[name].payload)
        assert difference(decode_rgb(saved(once, "PNG")), once) == 0


def test_only_known_formats_are_opened():
    with pytest.raises(Image.UnidentifiedImageError):
        open_image(saved(Image.fromarray(GRAY), "PPM"))


def test_encoders_get_the_normal_form():
    assert decode_for_encoder(FORMS["PNG LA"].payload, "L", 64).tolist() == (255 - GLYPH).tolist()
