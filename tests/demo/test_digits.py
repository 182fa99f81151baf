import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from umc_ray.demo.digits import SCHEMA, SIDE, draw_scan, draw_strokes, parse
from umc_ray.errors import DataError

SCAN = ",".join(["0"] * 32 + ["16"] * 32)
STROKE = ", ".join(["0, 0", "100, 100"] * 4)


def pixels(png: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (SIDE, SIDE))
        return np.asarray(image)


def test_lines_become_png_images_with_the_digit_as_label() -> None:
    rows = parse(f"@relation optdigits\n@data\n{SCAN},7\n{SCAN},0\n", "scans")
    assert [(row["key"], row["label"]) for row in rows] == [
        ("scans-00002", "7"),
        ("scans-00003", "0"),
    ]
    assert list(rows[0]) == SCHEMA.names
    assert rows[0]["image"] == rows[1]["image"]
    assert (pixels(rows[0]["image"])[[0, -1]] == [[255], [0]]).all()


def test_spaces_around_values_are_allowed() -> None:
    (row,) = parse(f"{STROKE}, 4\n", "strokes")
    assert row["label"] == "4"
    assert pixels(row["image"]).min() == 0


@pytest.mark.parametrize("line", [f"{SCAN},10", f"{SCAN},1,1", "3"])
def test_a_line_of_another_form_is_an_error(line: str) -> None:
    with pytest.raises(DataError, match="scans: line 2 is not 64 values and a digit"):
        parse(f"{SCAN},1\n{line}", "scans")


def test_a_scan_is_dark_where_the_ink_is() -> None:
    inks = np.zeros((8, 8), dtype=int)
    inks[1, 6] = 16  # row 1, column 6: towards the upper right
    image = np.asarray(draw_scan(inks.ravel().tolist()))
    row, column = divmod(int(image.argmin()), SIDE)
    assert (row * 8 // SIDE, column * 8 // SIDE) == (1, 6)


def test_strokes_run_upwards_from_the_lower_left_and_keep_a_margin() -> None:
    image = np.asarray(draw_strokes([0, 0, 100, 100] * 4))
    ink = np.argwhere(image < 128)
    assert (np.abs(ink.sum(axis=1) - (SIDE - 1)) <= 2).all()  # y + x is constant: a rising line
    assert image[0].min() == image[-1].min() == 255
    assert ((image > 0) & (image < 255)).any()  # edges are smooth


def test_a_pen_that_never_moved_leaves_a_dot() -> None:
    image = np.asarray(draw_strokes([50, 50] * 8))
    middle = slice(SIDE // 2 - 3, SIDE // 2 + 3)
    assert image[middle, middle].min() == 0
    image = image.copy()
    image[middle, middle] = 255
    assert image.min() == 255
