"""Suffixes: N samples, D embedding dimension."""

import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from umc_ray.cluster.stream import run_item
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders import precision
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import StageError
from umc_ray.passes import encode as features
from umc_ray.passes.encode import (
    EncodeItem,
    EncodeSummary,
    EncodeWorker,
    encode,
    encode_rows,
    features_table,
)
from umc_ray.records import POOL, DomainKey, Part, embeddings_array
from umc_ray.storage import Storage

DOMAIN = DomainKey("shapes", "scans")
CONFIG = EncoderConfig(kind="pixels", image_px=8, batch_size=4, workers=1)
FINE = EncoderConfig(kind="pixels", image_px=16, batch_size=4, workers=1)


@dataclass
class Lengths:
    """Embeds numbers as themselves; refuses negative ones together and texts alone."""

    column: str = "text"
    batches: list[list[int]] = field(default_factory=list)

    def prepare(self, payload):
        return int(payload)

    def encode(self, prepared):
        if min(prepared) < 0:
            raise RuntimeError("negative")
        self.batches.append(prepared)
        return np.array([[number, 1] for number in prepared], np.float16)


def test_rows_keep_their_order_and_come_in_batches():
    encoder = Lengths()
    numbers = list(range(23))
    found_ND, rejected = encode_rows(encoder, [str(i) for i in numbers], 4)
    assert found_ND.tolist() == [[i, 1] for i in numbers]
    assert encoder.batches == [numbers[i : i + 4] for i in range(0, 23, 4)]
    assert rejected == {}


def test_a_batch_holds_texts_of_like_length_and_rows_keep_their_order():
    encoder = Lengths()
    payloads = ["1000", "1", "2000", "2", "3000", "3"]
    found_ND, _ = encode_rows(encoder, payloads, 3)
    assert encoder.batches == [[1, 2, 3], [1000, 2000, 3000]]
    assert found_ND[:, 0].tolist() == [1000, 1, 2000, 2, 3000, 3]


def test_rows_that_cannot_be_encoded_are_told_and_take_no_other_with_them():
    payloads = ["0", "one", "2", "-3", "4", "-5", "six"]
    found_ND, rejected = encode_rows(Lengths(), payloads, 4)
    assert list(rejected) == [1, 3, 5, 6]
    assert rejected[1].startswith("cannot be decoded: ValueError")
    assert rejected[3] == "cannot be encoded: RuntimeError('negative')"
    bad = [1, 3, 5, 6]
    assert np.isnan(found_ND[bad]).all()
    assert found_ND[[0, 2, 4]].tolist() == [[0, 1], [2, 1], [4, 1]]


def png(value):
    file = io.BytesIO()
    Image.new("L", (8, 8), int(value)).save(file, "PNG")
    return file.getvalue()


def write_images(storage, images, name="part-00000"):
    part = Part("pool", DOMAIN, name, len(images))
    rows = [
        {"sample_id": i, "key": f"{i}.png", "source": "in", "image": image, "aliases": []}
        for i, image in enumerate(images)
    ]
    storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    return part


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def worker_of(storage):
    name = ("shapes", "pixels")
    return EncodeWorker(storage, {name: CONFIG}, {name: features_table(CONFIG)})


def test_a_part_becomes_features_in_its_order(storage):
    images = [png(i + 1) for i in range(9)]
    item, worker = EncodeItem(write_images(storage, images), "pixels"), worker_of(storage)
    assert run_item(worker, item) == EncodeSummary(9, ())
    table = storage.read_table(worker.output_key(item))
    assert table["sample_id"].to_pylist() == list(range(9))
    encoder = load_encoder(CONFIG)
    expected_ND = encoder.encode([encoder.prepare(image) for image in images])
    np.testing.assert_array_equal(embeddings_array(table["embedding"]), expected_ND)


def test_what_cannot_be_encoded_goes_to_quarantine(storage):
    part = write_images(storage, [png(1), b"no image", png(3)])
    assert run_item(worker_of(storage), EncodeItem(part, "pixels")) == EncodeSummary(3, (1,))
    (bad,) = storage.read_table(part.key("quarantine/encode/pixels")).to_pylist()
    assert (bad["source"], bad["row"]) == ("in", "1.png")
    assert bad["reason"].startswith("cannot be decoded: UnidentifiedImageError")


def test_a_part_of_which_nothing_can_be_encoded_stops_the_stage(storage):
    part = write_images(storage, [b"no image", b"neither"])
    with pytest.raises(StageError, match="no sample of shapes/scans can be encoded: cannot be"):
        run_item(worker_of(storage), EncodeItem(part, "pixels"))


def test_each_encoder_of_a_task_has_a_table_of_its_own(storage):
    configs = {("shapes", "rough"): CONFIG, ("shapes", "fine"): FINE}
    tables = {name: features_table(config) for name, config in configs.items()}
    worker = EncodeWorker(storage, configs, tables)
    part = write_images(storage, [png(i + 1) for i in range(3)])
    rough, fine = EncodeItem(part, "rough"), EncodeItem(part, "fine")
    for item in (rough, fine):
        assert run_item(worker, item) == EncodeSummary(3, ())
    assert worker.output_key(rough) == part.key(features_table(CONFIG))
    assert worker.output_key(fine) == part.key(features_table(FINE)) != worker.output_key(rough)
    dimensions = [
        embeddings_array(storage.read_table(worker.output_key(item))["embedding"]).shape
        for item in (rough, fine)
    ]
    assert dimensions == [(3, 8 * 8), (3, 16 * 16)]


@pytest.mark.ray
def test_a_pass_of_two_encoders_counts_each_and_unites_what_they_rejected(storage, ray_cluster):
    part = write_images(storage, [png(1), b"no image", png(3)])
    finished = []
    encoders = {"shapes": {"rough": CONFIG, "fine": FINE}, "other": {"unused": CONFIG}}
    assert encode(encoders, [part], storage, finished.append) == {"shapes/scans": [1]}
    assert sum(finished) == 6
    for config in (CONFIG, FINE):
        assert storage.read_table(part.key(features_table(config))).num_rows == 3
    for name in ("rough", "fine"):
        assert storage.read_table(part.key(f"quarantine/encode/{name}")).num_rows == 1


@pytest.mark.ray
def test_the_pass_encodes_what_is_missing_and_tells_what_it_could_not(storage, ray_cluster):
    parts = [
        write_images(storage, [png(1), b"no image"], "part-00000"),
        write_images(storage, [png(3)], "part-00001"),
    ]
    finished = []
    encoders = {"shapes": {"pixels": CONFIG}}
    for _ in range(2):
        assert encode(encoders, parts, storage, finished.append) == {"shapes/scans": [1]}
    assert sum(finished) == 3


def test_the_precision_is_decided_before_a_pass_and_not_by_its_workers(storage, monkeypatch):
    sent = []
    monkeypatch.setattr(features, "stream", lambda worker, *_: sent.append(worker) or [])
    monkeypatch.setattr(features, "available_slots", lambda *_: 1)
    monkeypatch.setattr(features, "encoder_hash", lambda config: config.precision)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    network = EncoderConfig(kind="transformers", path="x", workers=1)
    encode({"shapes": {"network": network}}, [], storage)
    (worker,) = sent
    assert worker.encoders["shapes", "network"].precision == "bf16"
    assert worker.tables["shapes", "network"] == "features/bf16"
