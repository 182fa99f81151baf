"""Samples that would break or flood a pass: exactly they go to quarantine, and the run ends."""

import io
import json

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny import write_encoder
from umc_ray.config import CampaignConfig
from umc_ray.pipeline.features import encode, features_table
from umc_ray.pipeline.ingest import ingest
from umc_ray.records import Arm, embeddings_array
from umc_ray.storage import Storage

TEXTS, IMAGES = Arm("mood", "posts"), Arm("shapes", "scans")
MAX_TOKENS = 256


def poisoned(count, every, kinds):
    """Where the poison is, and of which kind."""
    rows = range(every // 2, count, every)
    return {row: kinds[i % len(kinds)] for i, row in enumerate(rows)}


def write_texts(path, poison, count):
    rows = []
    for i in range(count):
        text = {
            None: f"good word{i}",
            "NUL character": f"good\0 word{i}",
            "long": f"row{i} " + "good " * (MAX_TOKENS - 1) + "bad " * 50_000,
        }[poison.get(i)]
        rows.append(json.dumps({"text": text}))
    path.write_text("\n".join(rows))


def encoded(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_images(path, poison, count):
    bomb = encoded(PIL.Image.new("1", (20_000, 20_000)), "PNG")  # 400 MB, as 50 KB
    assert len(bomb) < 100_000
    images = []
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16), dtype=np.uint8)
        jpeg = encoded(PIL.Image.fromarray(pixels), "JPEG")
        # Each bomb differs behind its end, or all would be duplicates of the first.
        broken = {None: jpeg, "undecodable image": jpeg[:-60], "image too large": bomb + b"%d" % i}
        images.append(broken[poison.get(i)])
    pq.write_table(pa.table({"image": images}), path)


def configure(folder):
    write_encoder(folder / "encoder")
    text_encoder = {"kind": "static_text", "path": str(folder / "encoder"), "workers": 1}
    tasks = {
        "mood": {
            "kind": "text_classification",
            "labels": ["bad", "good"],
            "encoder": {**text_encoder, "max_tokens": MAX_TOKENS},
            "domains": {"posts": {"source": str(folder / "posts.jsonl"), "text": "text"}},
        },
        "shapes": {
            "kind": "image_classification",
            "labels": ["round", "square"],
            "encoder": {"kind": "pixels", "image_px": 8, "workers": 1},
            "domains": {"scans": {"source": str(folder / "scans.parquet"), "image": "image"}},
        },
    }
    return CampaignConfig.model_validate(
        {"name": "poison", "tasks": tasks, "budget": {"labels": 9, "per_round": 9}}
    )


@pytest.mark.ray
def test_exactly_the_poison_goes_to_quarantine(ray_cluster, tmp_path):
    bad_texts = poisoned(1000, 25, ["NUL character", "long"])
    bad_images = poisoned(400, 20, ["undecodable image", "image too large"])
    write_texts(tmp_path / "posts.jsonl", bad_texts, 1000)
    write_images(tmp_path / "scans.parquet", bad_images, 400)
    config, storage = configure(tmp_path), Storage(str(tmp_path / "run"))

    found = {arm: ingest(config, arm, "pool", storage) for arm in (TEXTS, IMAGES)}
    long = {row for row, kind in bad_texts.items() if kind == "long"}
    expected = {row: kind for row, kind in bad_texts.items() if row not in long}
    assert quarantine(storage, TEXTS) == expected
    assert quarantine(storage, IMAGES) == bad_images
    assert found[TEXTS].rows == 1000 - len(expected)
    assert found[IMAGES].rows == 400 - len(bad_images)

    encoders = {name: task.encoder for name, task in config.tasks.items()}
    parts = [part for manifest in found.values() for part in manifest.parts]
    assert encode(encoders, parts, storage) == {str(TEXTS): [], str(IMAGES): []}
    (part,) = found[TEXTS].parts
    keys = storage.read_table(part.key("pool"), ["key"])["key"].to_pylist()
    features = storage.read_table(part.key(features_table(encoders["mood"])))
    vectors_ND = embeddings_array(features["embedding"])
    cut = [i for i, key in enumerate(keys) if int(key.rpartition("#")[2]) - 1 in long]
    assert len(cut) == 20
    assert (vectors_ND[cut, 0] > 0.5).all()  # as good as their first tokens


def quarantine(storage, arm):
    """The kind of trouble of each row, from 0, that is set apart."""
    keys = storage.keys(f"quarantine/pool/{arm}")
    rows = [row for key in keys for row in storage.read_table(key).to_pylist()]
    return {int(row["row"]) - 1: row["reason"].partition(":")[0] for row in rows}
