from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from umc_ray.annotation.store import AnnotationStore, Payload, Question
from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.digits import png
from umc_ray.demo.planted import Drawing
from umc_ray.demo.stand_in import NAME, Neighbors, StandIn
from umc_ray.methods.identity import sample_ids
from umc_ray.records import DomainKey, Made, Part

KEY = DomainKey("digits", "scans")


def stripes(across, shade=0):
    """An image of stripes: across or down; shades differ a little."""
    pixels = np.full((16, 16), 255 - shade, np.uint8)
    pixels[(slice(4, 8), slice(None)) if across else (slice(None), slice(4, 8))] = shade
    return png(Image.fromarray(pixels))


def test_neighbors_that_agree_give_their_label_and_others_none():
    near_a, near_b = np.zeros((5, 2), np.float32), np.full((5, 2), 10, np.float32)
    mixed = np.full((5, 2), 20, np.float32)
    labels = [*"aaaaa", *"bbbba", *"aabbb"]
    model = Neighbors.of(np.concatenate([near_a, near_b, mixed]), labels)
    asked = np.array([[0, 1], [10, 9], [20, 19]], np.float32)
    assert model.judge(asked) == ["a", "b", None]


class Stored:
    """A storage with the synthetic samples of one part."""

    def read_table(self, key):
        images = [stripes(True), stripes(False)]
        return pa.table({"sample_id": [101, 102], "image": images})


@pytest.fixture
def run(tmp_path):
    store = AnnotationStore(f"sqlite:///{tmp_path / 'labels.db'}")
    task = SimpleNamespace(default_encoder_config=EncoderConfig(kind="gradients"))
    config = SimpleNamespace(name="demo", domains=lambda: {KEY: None}, tasks={"digits": task})
    part = Part("synthetic", KEY, "synthetic-0001", 2)
    yield SimpleNamespace(store=store, config=config, synthetic=(part,), storage=Stored())
    store.close()


def test_real_samples_get_their_label_and_synthetic_ones_that_of_what_they_resemble(run):
    known = [Drawing(f"{across}-{i}", stripes(across, i), "-|"[not across])
             for across in (True, False) for i in range(5)]  # fmt: skip
    real = sample_ids("digits", "scans", "pool", ["False-3"]).tolist()
    made = Payload(made=Made("changed", "-", ()))
    run.store.submit(
        [
            Question("demo", 1, "digits", "scans", real[0]),
            Question("demo", 1, "digits", "scans", 101, payload=made),
            Question("demo", 1, "digits", "scans", 102, payload=made),
        ]
    )
    people = StandIn(run, {"scans": known})
    assert people.answer() == 3
    answers = {each.sample_id: (each.annotator, each.label) for each in run.store.answers("demo")}
    assert answers == {real[0]: (NAME, "|"), 101: (NAME, "-"), 102: (NAME, "|")}
    assert people.answer() == 0
