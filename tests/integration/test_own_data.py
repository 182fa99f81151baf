"""What a newcomer does with the README alone: own images, own texts, a sheet to fill in."""

import csv
import re

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from tests.tiny import ROOT, texts, write_campaign, write_encoder
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray

WAITING = 3
BROKEN = {"circle/012.png", "square/009.png", "040.png"}


def readme_campaign():
    """The campaign of the README's section on own data, as it stands there."""
    _, _, section = (ROOT / "README.md").read_text().partition("\n## Your own data\n")
    return re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]


def write_images(folder):
    """100 images of circles and squares, a third of them not sorted into folders; 3 are broken."""
    rng = np.random.default_rng(0)
    for i in range(100):
        shape = ("circle", "square")[i % 2]
        image = Image.new("L", (32, 32), int(rng.integers(0, 60)))
        x, y, size = rng.integers(4, 10), rng.integers(4, 10), rng.integers(14, 20)
        draw = ImageDraw.Draw(image)
        (draw.ellipse if shape == "circle" else draw.rectangle)((x, y, x + size, y + size), 255)
        name = f"{i:03d}.png" if i % 3 else f"{shape}/{i:03d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        if i in (9, 12, 40):
            path.write_bytes(path.read_bytes()[:40])


def write_texts(path):
    """100 texts of which 3 rows have none."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "body"])
        for i, row in enumerate(texts(100, seed=8)):
            writer.writerow([i, "" if i in (5, 50, 95) else row["text"]])


def is_square(path):
    """Whether the corners of what is bright are bright."""
    bright_HW = np.asarray(Image.open(path)) > 128
    rows, columns = np.flatnonzero(bright_HW.any(1)), np.flatnonzero(bright_HW.any(0))
    return bool(bright_HW[rows[0], columns[0]])


def fill_in(sheet):
    """Do what people do: look at each sample and write what it is; one cannot be told."""
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["task"] == "shapes":
            row["label"] = "square" if is_square(sheet.parent / row["sample"]) else "circle"
        else:
            good = re.search("good|great|fine", row["sample"])
            row["label"] = "Sport" if good else "science"
    rows[0]["label"] = "skip"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.mark.slow
def test_own_images_and_texts_are_labeled_in_sheets(tmp_path, umc_here):
    path = tmp_path / "campaign.yaml"
    path.write_text(readme_campaign())
    write_images(tmp_path / "images")
    write_texts(tmp_path / "texts.csv")
    write_encoder(tmp_path / "models/wordllama-256")
    run = tmp_path / "runs/first"

    for number in (1, 2):
        sheet = run / f"rounds/{number:04d}/sheet.csv"
        code, manifest = umc_here("run", path)
        assert code == WAITING, manifest
        assert f"round {number}: 0 of 40 answered; fill in the label column of {sheet}" in manifest
        assert len(fill_in(sheet)) == 40
    code, manifest = umc_here("run", path)
    assert code == 0, manifest
    assert "finished: the budget of 80 labels is spent" in manifest

    storage = Storage(str(run))
    labels = [
        row
        for number in (1, 2)
        for row in storage.read_table(f"rounds/{number:04d}/labels.parquet").to_pylist()
    ]
    assert len(labels) == 78  # two were skipped
    assert {row["task"] for row in labels} == {"shapes", "topics"}
    quarantined = [
        row for key in storage.keys("quarantine") for row in storage.read_table(key).to_pylist()
    ]
    assert len(quarantined) == 6
    files = {row["source"].removeprefix(f"{tmp_path}/images/") for row in quarantined}
    assert files == {*BROKEN, f"{tmp_path}/texts.csv"}

    code, manifest = umc_here("report", path)
    assert code == 0
    page = (run / "report/index.html").read_text()
    assert all(name in page for name in BROKEN)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks.topics.domains.news.txt": "body"}, "unknown key 'txt'"),
        ({"tasks.topics.labels": ["sport"]}, "labels must be at least two different names"),
        (
            {"tasks.topics.domains.news.source": "no [b] texts.csv"},
            "/no [b] texts.csv matches no file that ends in .parquet",
        ),
        ({"tasks.topics.domains.news.source": "none.csv"}, "/none.csv does not exist"),
        ({"tasks.topics.domains.news.source": "header.csv"}, "topics/news pool: no usable row"),
        (
            {"tasks.topics.domains.news.text": "title"},
            "texts.csv has no column 'title'; it has date, body",
        ),
        ({"tasks.topics.domains": {}}, "tasks.topics.domains: Dictionary should have at least 1"),
        ({"tasks.topics.encoder.path": "none"}, "none is not a folder"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, umc_here, change, said):
    values = yaml.safe_load(readme_campaign())
    del values["tasks"]["shapes"]
    write_texts(tmp_path / "texts.csv")
    (tmp_path / "header.csv").write_text("date,body\n")
    write_encoder(tmp_path / "models/wordllama-256")
    for steps, value in change.items():
        *folders, last = steps.split(".")
        place = values
        for folder in folders:
            place = place[folder]
        place[last] = value
    code, manifest = umc_here("run", write_campaign(tmp_path, values))
    assert code == 1
    (line,) = manifest.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
