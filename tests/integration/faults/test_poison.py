"""Samples that would break or flood a pass: exactly they go to quarantine, and the run ends."""

import pytest

from benchmarks.poison import (
    BOMB,
    BROKEN,
    IMAGES,
    LONG,
    NUL,
    TEXTS,
    configure,
    ingest_and_encode,
    poisoned,
    quarantine,
    write_images,
    write_texts,
)
from tests.tiny import write_encoder
from umc_ray.storage import Storage


@pytest.mark.ray
def test_exactly_the_poison_goes_to_quarantine(ray_cluster, tmp_path):
    texts = poisoned(1000, 25, [NUL, LONG])
    images = poisoned(400, 20, [BROKEN, BOMB])
    write_texts(tmp_path / "posts.jsonl", texts, 1000)
    write_images(tmp_path / "scans.parquet", images, 400)
    write_encoder(tmp_path / "encoder")
    config, storage = configure(tmp_path, str(tmp_path / "encoder")), Storage(str(tmp_path / "run"))

    parts = ingest_and_encode(config, storage)
    assert quarantine(storage, TEXTS) == texts
    assert quarantine(storage, IMAGES) == images
    assert sum(part.rows for part in parts[TEXTS]) == 1000 - len(texts)
    assert sum(part.rows for part in parts[IMAGES]) == 400 - len(images)
