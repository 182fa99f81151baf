"""Four kinds of own data, from an empty folder to a release, with the words of the guide."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from tests.tiny import texts, write_encoder
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WAITING = 3
ASKED = 8
BUDGET = "budget: {labels: 8, per_round: 8}\n"
SHAPES = ("circle", "square")


@pytest.fixture
def follow(tmp_path, umc_here):
    """Do what the guide says with a campaign; returns the rows of its release, and what was said.

    A person labels each row of the sheet.
    """

    def run(campaign, label_of):
        path = tmp_path / "campaign.yaml"
        path.write_text(campaign + BUDGET)
        code, checked = umc_here("check", path)
        assert code == 0, checked
        code, waiting = umc_here("run", path)
        sheet = tmp_path / "runs/first/rounds/0001/sheet.csv"
        assert code == WAITING, waiting
        assert f"0 of 8 answered; fill in the label column of {sheet}, then run again" in waiting
        fill_in(sheet, label_of)
        said = [checked, waiting]
        for command in ("run", "status", "report", "release"):
            code, output = umc_here(command, path)
            assert code == 0, output
            said.append(output)
        storage = Storage(str(tmp_path / "runs/first"))
        assert storage.keys("quarantine") == []
        assert storage.exists("report/index.html")
        (data,) = [key for key in storage.keys("release") if key.endswith(".parquet")]
        return storage.read_table(data).to_pylist(), said

    return run


def fill_in(sheet, label_of):
    """Write labels as a spreadsheet program in Germany saves them: with semicolons."""
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows({**row, "label": label_of(row["sample"])} for row in rows)


def shape(rng, kind, top, dtype):
    """A circle or a square, bright on dark, with values up to `top`."""
    image = Image.new("L", (32, 32), int(rng.integers(1, 60)))
    x, y, size = (int(rng.integers(*ends)) for ends in ((4, 10), (4, 10), (14, 20)))
    draw = ImageDraw.Draw(image)
    (draw.ellipse if kind == "circle" else draw.rectangle)((x, y, x + size, y + size), 255)
    return (np.asarray(image) / 255 * top).round().astype(dtype)


def png(values_HW):
    file = io.BytesIO()
    Image.fromarray(values_HW).save(file, "PNG")
    return file.getvalue()


def shapes(n, top=255, dtype=np.uint8):
    """Images of circles and squares in turns, as PNG files."""
    rng = np.random.default_rng(0)
    return [(kind := SHAPES[i % 2], png(shape(rng, kind, top, dtype))) for i in range(n)]


def seen(path):
    """Whether a person sees a circle or a square: the corners of what is bright are bright."""
    bright_HW = np.asarray(Image.open(path).convert("L")) > 128
    rows, columns = np.flatnonzero(bright_HW.any(1)), np.flatnonzero(bright_HW.any(0))
    return SHAPES[int(bright_HW[rows[0], columns[0]])]


def released_images(rows):
    return {row["image"]: row["label"] for row in rows}


def test_a_table_from_excel(tmp_path, umc_here, follow):
    known = {"good": "gut", "bad": "schlecht"}
    rows = [
        {"Text": f'{row["text"]} – „Grüße“ für 5 €;\r\n"ok"', "Urteil": known[row["label"]]}
        for row in texts(40, seed=5)
    ]
    truth = {row["Text"]: row["Urteil"] for row in rows}
    given = {row["Text"] for row in rows[::4]}
    with (tmp_path / "kunden.csv").open("w", newline="", encoding="cp1252") as file:
        writer = csv.DictWriter(file, ["Text", "Urteil"], delimiter=";")
        writer.writeheader()
        writer.writerows(
            {**row, "Urteil": row["Urteil"] if row["Text"] in given else ""} for row in rows
        )
    write_encoder(tmp_path / "models/wordllama-256")
    campaign = """\
name: first
tasks:
  mood:
    kind: classification
    labels: [gut, schlecht]
    encoder: {kind: static_text, path: models/wordllama-256}
    domains:
      kunden: {source: kunden.csv, text: Text, label: Urteil%s}
"""
    first = tmp_path / "first.yaml"
    first.write_text(campaign % "" + BUDGET)
    code, said = umc_here("check", first)
    assert code == 1
    advice = 'To read it, add delimiter: ";" and encoding: cp1252 to the domain'
    assert advice in said

    options = ', delimiter: ";", encoding: cp1252'
    released, said = follow(campaign % options, truth.__getitem__)
    assert "labels      (unlabeled) 30, gut 5, schlecht 5" in said[0]
    asked = {row["text"] for row in released if row["round"] == 1}
    assert {row["text"]: row["label"] for row in released} == {
        text: label for text, label in truth.items() if text in asked | given
    }
    assert len(asked) == ASKED and not asked & given


def test_a_folder_of_hugging_face(tmp_path, follow):
    images = shapes(40)
    numbers = [SHAPES.index(kind) if i % 4 == 0 else -1 for i, (kind, _) in enumerate(images)]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(SHAPES), "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            "image": [{"bytes": data, "path": f"{i}.png"} for i, (_, data) in enumerate(images)],
            "label": pa.array(numbers, pa.int64()),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "shapes/data").mkdir(parents=True)
    (tmp_path / "shapes/README.md").write_text("# Shapes\n")
    for part in range(2):
        name = f"shapes/data/train-{part:05d}-of-00002.parquet"
        pq.write_table(table.slice(20 * part, 20), tmp_path / name)
    released, said = follow(
        """\
name: first
tasks:
  shapes:
    kind: classification
    labels: [circle, square]
    encoder: {kind: gradients}
    domains:
      train: {source: "shapes/data/train-*.parquet", image: image, label: label}
""",
        lambda sample: seen(tmp_path / "runs/first/rounds/0001" / sample),
    )
    assert "labels      (unlabeled) 30, circle 10" in said[0]
    truth = {data: kind for kind, data in images}
    found = released_images(released)
    assert found == {data: truth[data] for data in found}
    given = {data for number, (_, data) in zip(numbers, images, strict=True) if number >= 0}
    assert given <= set(found)
    assert len(found) == ASKED + len(given)


def test_microscopy_with_16_bits(tmp_path, follow):
    images = shapes(40, top=4095, dtype=np.uint16)
    (tmp_path / "wells").mkdir()
    for i, (_, data) in enumerate(images):
        (tmp_path / f"wells/{i:03d}.png").write_bytes(data)
    folder = tmp_path / "runs/first/rounds/0001"
    scaled = {}

    def label(sample):
        scaled[sample] = np.asarray(Image.open(folder / sample))
        return seen(folder / sample)

    released, said = follow(
        """\
name: first
tasks:
  cells:
    kind: classification
    labels: [circle, square]
    encoder: {kind: gradients}
    domains:
      wells: {source: wells}
""",
        label,
    )
    note = "40 x 12-bit integers: 0..4095 scaled to 0..255"
    assert all(note in each for each in said[:4])  # check, both runs, and status
    originals = [np.asarray(Image.open(io.BytesIO(data))) for _, data in images]
    expected = {np.rint(each / 4095 * 255).astype(np.uint8).tobytes() for each in originals}
    assert len(scaled) == ASKED
    for each in scaled.values():
        assert each.dtype == np.uint8
        gray = each if each.ndim == 2 else each[..., 0]
        assert gray.tobytes() in expected
    truth = {data: kind for kind, data in images}
    found = released_images(released)
    assert len(found) == ASKED
    assert found == {data: truth[data] for data in found}


def test_a_table_with_paths_of_images(tmp_path, follow):
    images = shapes(40)
    (tmp_path / "scans/day 1").mkdir(parents=True)
    with (tmp_path / "scans/index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "file", "finding"])
        for i, (kind, data) in enumerate(images):
            (tmp_path / f"scans/day 1/{i:03d}.png").write_bytes(data)
            writer.writerow([f"p{i}", f"day 1\\{i:03d}.png", kind if i % 4 == 0 else ""])
    released, said = follow(
        """\
name: first
tasks:
  findings:
    kind: classification
    labels: [circle, square]
    encoder: {kind: gradients}
    domains:
      scans: {source: scans/index.csv, image: file, key: patient, label: finding}
""",
        lambda sample: seen(tmp_path / "runs/first/rounds/0001" / sample),
    )
    assert "40 x paths with backslashes or percent signs: read as /" in said[1]
    truth = {f"p{i}": (kind, data) for i, (kind, data) in enumerate(images)}
    pool = Storage(str(tmp_path / "runs/first")).read_table(
        "pool/pool/findings/scans/part-00000.parquet"
    )
    assert pool["key"].to_pylist() == list(truth)
    assert pool["image"].to_pylist() == [data for _, data in truth.values()]
    labels = {data: kind for kind, data in truth.values()}
    found = released_images(released)
    assert len(found) == ASKED + 10
    assert found == {data: labels[data] for data in found}
