"""What a real browser paints of images, by the routes of the page."""

import io
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from tests.ingest.pictures import SIDE, forms, saved
from tests.web.conftest import World
from tests.web.test_browser import annotating, serving
from tests.web.worlds import PICTURES, ids
from umc_ray.encoders.image import decode
from umc_ray.records import POOL, Part

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXACT = 0
DECODED = 6
"""Levels by which two decoders of one lossy file, or two appliers of a profile, may differ."""

SHOW = """async (path) => {
  const image = document.createElement("img");
  image.id = "shown";
  Object.assign(image.style, {
    position: "fixed", left: 0, top: 0, zIndex: 9, background: "rgb(255, 0, 255)",
  });
  document.getElementById("shown")?.remove();
  document.body.append(image);
  image.src = path;
  await image.decode();
  return [image.naturalWidth, image.naturalHeight];
}"""


def with_pictures(folder, payloads):
    """A world whose first questions are about these images."""
    world = World(folder, domain_keys=(PICTURES,))
    key = Part("pool", PICTURES, "part-00000", 0).key("pool")
    rows = world.run.storage.read_table(key).to_pylist()
    asked = dict(zip(ids(PICTURES, 2), payloads, strict=False))
    for row in rows:
        row["image"] = asked.get(row["sample_id"], row["image"])
    world.run.storage.write_table(key, pa.Table.from_pylist(rows, schema=POOL))
    return world


def painted(page, path):
    """What the browser paints of an image, unscaled."""
    width, height = page.evaluate(SHOW, path)
    shot = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": height})
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def test_a_browser_paints_what_encoders_see(tmp_path, chromium):
    pictures = forms()
    assert len(pictures) >= 40
    world = with_pictures(tmp_path, [form.payload for form in pictures])
    differences = {}
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator") as user,
    ):
        for form, sample in zip(pictures, ids(PICTURES, 2), strict=False):
            seen = decode(form.payload, "RGB", SIDE).astype(int)
            shown = painted(user.page, f"/images/digits/{sample}")
            assert shown.shape == seen.shape, form.name
            differences[form.name] = int(np.abs(shown - seen).max())
    lossy = ("JPEG", "MPO", "WEBP lossy")
    far = {
        name: found
        for name, found in differences.items()
        if found > (DECODED if name.startswith(lossy) else EXACT)
    }
    assert far == {}


def striped(width, height):
    """An orange image with thin black lines across it and a blue frame."""
    image = Image.new("RGB", (width, height), (255, 165, 0))
    draw = ImageDraw.Draw(image)
    for y in range(0, height, max(height // 12, 2)):
        draw.line((0, y, width, y), fill=(0, 0, 0), width=3)
    frame = max(min(width, height) // 40, 1)
    draw.rectangle((0, 0, width - 1, height - 1), outline=(0, 0, 255), width=frame)
    return saved(image, "PNG")


SHAPES = [(600, 800), (1080, 1920), (100, 2400), (2400, 100), (4000, 3000), (8, 8)]


def shot_of(user, selector):
    shot = user.page.locator(selector).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def blue(pixels):
    red, _, blue = np.moveaxis(pixels, 2, 0)
    return blue - red > 60


def shown_box(pixels):
    """Width and height of what the blue frame encloses."""
    rows, columns = np.nonzero(blue(pixels))
    return np.ptp(columns) + 1, np.ptp(rows) + 1


def dark_lines(pixels):
    """How many lines cross the middle of what is shown."""
    rows, columns = np.nonzero(blue(pixels))
    middle = pixels[rows.min() : rows.max() + 1, (columns.min() + columns.max()) // 2]
    lightness = middle[:, 0]
    is_line = lightness < 0.85 * np.median(lightness[lightness > 120])
    return int(np.diff(is_line.astype(int)).clip(0).sum())


def check_wheel_and_drag(page):
    """The point below the pointer stays there while the wheel turns; dragging moves the image."""
    box = page.locator(".picture").bounding_box()
    x, y = box["x"] + 0.55 * box["width"], box["y"] + 0.6 * box["height"]

    def image():
        return page.locator(".picture img").bounding_box()

    def below_pointer(found):
        return (x - found["x"]) / found["width"], (y - found["y"]) / found["height"]

    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -100)
    page.wait_for_selector(".picture.zoomed")
    before = image()
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.wait_for_function(
        "(w) => document.querySelector('.picture img').width > 1.9 * w", arg=before["width"]
    )
    after = image()
    assert below_pointer(after) == pytest.approx(below_pointer(before), abs=0.01)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=4)
    page.mouse.up()
    moved = image()
    assert (moved["x"] - after["x"], moved["y"] - after["y"]) == pytest.approx((40, 30), abs=2)


def check_pinch(user):
    """Two fingers zoom an image, and what is between them stays there; the page is not zoomed."""
    box = user.page.locator(".picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = user.context.new_cdp_session(user.page)
    before = user.page.locator(".picture img").bounding_box()
    for kind, apart in (("Start", 40), ("Move", 80), ("Move", 160)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    after = user.page.locator(".picture img").bounding_box()
    scale, box = user.page.evaluate(
        "() => [Number(document.querySelector('.picture').dataset.zoom), visualViewport.scale]"
    )
    assert after["width"] == pytest.approx(scale * 4000, abs=2)
    assert after["width"] > 2.5 * before["width"] and box == 1
    user.shoot("pinched")


def check_levels(user, picture):
    """Sliders make an image brighter and set its contrast, until it is shown as it is again."""
    user.page.locator("[name=brightness]").fill("0.5")
    dark = shot_of(user, ".picture")
    assert dark.mean() < 0.8 * picture.mean()
    user.page.locator("[name=contrast]").fill("3")
    assert np.abs(shot_of(user, ".picture") - dark).mean() > 5
    user.shoot("levels")
    user.page.locator("[data-do=reset]").tap()


def test_an_image_of_any_shape_is_shown_whole_and_can_be_zoomed_to_its_own_pixels(
    tmp_path, chromium
):
    world = with_pictures(tmp_path, [striped(*shape) for shape in SHAPES])
    with (
        closing(world.store),
        serving(world) as address,
        annotating(chromium, address, "annotator", has_touch=True) as user,
    ):
        for width, height in SHAPES:
            name = f"{width}x{height}"
            picture = shot_of(user, ".picture")
            user.shoot(f"shape_{name}")
            across, down = shown_box(picture)
            room = np.array(picture.shape[1::-1])
            scale = (room / (width, height)).min()
            assert abs(across - scale * width) <= 3 and abs(down - scale * height) <= 3, name
            if min(width, height) >= 600:
                assert dark_lines(picture) >= 11, name
            user.press("z")
            zoomed = user.page.evaluate(
                "() => document.querySelector('.picture img').getBoundingClientRect().toJSON()"
            )
            whole = zoomed["width"] / width
            assert whole == zoomed["height"] / height == int(whole), name
            assert whole == 1 or whole / 2 <= scale < whole, name
            assert np.ptp(shot_of(user, ".picture").reshape(-1, 3), axis=0).max() > 100, name
            user.shoot(f"shape_{name}_zoomed")
            user.press("z", "z")
            if min(width, height) >= 600:
                check_wheel_and_drag(user.page)
                user.page.evaluate("document.activeElement.blur()")
                user.press(*"-" * 9)
            if width == 4000:
                check_pinch(user)
                check_levels(user, picture)
            assert np.abs(shot_of(user, ".picture") - picture).max() <= 8, name
            user.label("1")
