"""The nearest labeled samples, without an endpoint."""

import json

import numpy as np

from umc_ray.serving.neighbors import LabeledSamples

LARGE_ID = 2**62 + 1


def test_the_nearest_come_first_and_their_ids_are_strings_in_json():
    labeled = LabeledSamples(
        embeddings_ND=np.eye(3, dtype=np.float32),
        domains=["a", "b", "c"],
        ids=[1, LARGE_ID, 3],
        labels=["bad", "good", "bad"],
    )
    nearest = labeled.nearest(np.array([0.1, 0.9, 0.2], dtype=np.float16), 2)
    assert [neighbor.domain for neighbor in nearest] == ["b", "c"]
    assert json.loads(nearest[0].model_dump_json())["sample_id"] == str(LARGE_ID)


def test_the_length_of_an_embedding_does_not_make_it_near():
    labeled = LabeledSamples(
        embeddings_ND=np.eye(2, dtype=np.float32), domains=["a", "b"], ids=[1, 2], labels=["x", "y"]
    )
    (nearest,) = labeled.nearest(np.array([3, 4], dtype=np.float16), 1)
    assert (nearest.domain, round(nearest.similarity, 3)) == ("b", 0.8)
