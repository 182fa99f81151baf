"""Evenness, novelty and imitation of samples whose patterns are known."""

import numpy as np
import pytest

from umc_ray.diversity import measures
from umc_ray.diversity.measures import (
    DRAWN,
    cluster_evenness,
    evenness,
    imitations,
    newest_novelty,
    some,
)

RNG = np.random.default_rng(0)
POOL = RNG.normal(size=(400, 3)).astype(np.float32)


def test_evenness_is_that_of_sizes_and_nothing_has_none():
    assert evenness([40, 40]).value == pytest.approx(1)
    halves = evenness([5000, 5000, 0, 0])
    assert halves.value == pytest.approx(0.5, abs=0.01)
    assert halves.low <= 0.5 <= halves.high
    assert evenness([7]) is evenness([0, 0]) is None


def test_clusters_are_compared_with_as_many_random_samples():
    pool_N = np.arange(1000) % 10
    one, random = cluster_evenness(np.zeros(50, np.int64), pool_N, 10)
    assert one.value == 0
    assert random.value > 0.9
    assert cluster_evenness(pool_N, pool_N[:5], 10) is not None  # more labels than the sample has
    assert cluster_evenness(pool_N[:0], pool_N, 10) is None


def test_novelty_is_that_of_the_newest_round():
    far_ND = POOL[:10] + 100
    x_ND, rounds_N = np.concatenate([POOL, POOL[:10], far_ND]), np.repeat([0, 3], [400, 20])
    assert newest_novelty(x_ND, rounds_N).value == pytest.approx(0.5)
    assert newest_novelty(POOL, np.zeros(400, np.int64)) is None  # nothing came before
    assert newest_novelty(POOL[:0], np.zeros(0, np.int64)) is None


def test_copies_imitate_better_than_what_is_far_away():
    made = {"copies": POOL[:150], "far": POOL[:150] + 100, "few": POOL[: 2 * DRAWN - 1]}
    found = imitations(made, POOL, POOL)
    assert set(found) == {"copies", "far"}
    assert found["copies"].samples == 150
    assert found["copies"].precision.value > 0.9
    assert found["copies"].new.value == 0
    far = found["far"]
    assert (far.precision.value, far.recall.value, far.coverage.value) == (0, 0, 0)
    assert far.new.value == 1
    assert imitations(made, POOL[:3], POOL) == imitations(made, POOL, POOL[:60]) == {}


def test_no_more_than_some_samples_are_compared(monkeypatch):
    monkeypatch.setattr(measures, "MOST", 7)
    assert some(POOL[:7]) is not POOL
    assert len(some(POOL)) == 7
    assert len(np.unique(some(POOL), axis=0)) == 7
