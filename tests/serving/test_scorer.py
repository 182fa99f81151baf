"""Validation and scoring in a replica, without HTTP or Ray."""

import numpy as np
import pytest

from tests import tiny
from umc_ray.config.loading import load_campaign
from umc_ray.encoders.registry import load_encoder
from umc_ray.serving.live import LivePublication
from umc_ray.serving.messages import Sample
from umc_ray.serving.scorer import InvalidSample, TaskScorer
from umc_ray.serving.settings import ServingConfig
from umc_ray.storage import Storage

TEXTS = [" ".join(["good"] * n) + f" word{n}" for n in (9, 1, 30, 4, 5, 17, 2, 25, 3, 8, 12, 6)]


class Picky:
    """An encoder that fails if a batch contains certain texts."""

    column = "text"

    def __init__(self, encoder, refused):
        self.encoder, self.refused = encoder, refused

    def prepare(self, payload):
        return payload

    def encode(self, prepared):
        if self.refused & set(prepared):
            raise ValueError("too picky")
        return self.encoder.encode(prepared)


@pytest.fixture
def scorer(tmp_path):
    path = tiny.write_campaign(tmp_path, tiny.campaign(tmp_path))
    config, storage = load_campaign(path), Storage(str(tmp_path / "run"))
    live = LivePublication(storage, config)
    return TaskScorer(config, "mood", ServingConfig(campaign=path), live)


def test_each_request_gets_its_own_samples_in_order(scorer):
    expected_ND = load_encoder(scorer.config.default_encoder_config).encode(TEXTS)
    first, second = scorer.predict([TEXTS[:5], TEXTS[5:]])
    found_ND = np.stack([row.embedding_D for row in [*first.rows, *second.rows]])
    np.testing.assert_array_equal(found_ND, expected_ND)


@pytest.mark.parametrize("bad", [{0}, {2, 7}, {1, 3, 11}, set(range(12))])
def test_a_sample_that_cannot_be_encoded_affects_no_others(scorer, bad):
    threaded = scorer.encoders["static_text"]
    expected_ND = threaded.encoder.encode(TEXTS)
    threaded.encoder = Picky(threaded.encoder, {TEXTS[i] for i in bad})
    (found,) = scorer.predict([TEXTS])
    assert {i for i, row in enumerate(found.rows) if isinstance(row, InvalidSample)} == bad
    for i in set(range(12)) - bad:
        np.testing.assert_array_equal(found.rows[i].embedding_D, expected_ND[i])


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample(), "needs text, found nothing"),
        (Sample(image="aGk="), "needs text, found image"),
        (Sample(text="good", image="aGk="), "needs text, found text and image"),
        (Sample(text=" "), "blank text"),
        (Sample(text="x" * 100_001), "text too long"),
    ],
)
def test_samples_are_validated_by_the_rules_of_ingestion(scorer, sample, reason):
    found = scorer.validate(sample)
    assert isinstance(found, InvalidSample)
    assert reason in found.reason
