"""Drift is large for requests that differ from the pool, and small otherwise."""

import numpy as np
import pyarrow as pa
import pytest

from umc_ray.campaign.documents import Rescored, RescoredPool
from umc_ray.serving.drift import MIN_RECENT, RecentMargins, pool_reference
from umc_ray.storage import Storage


def draw(n, seed, low=0.0):
    return np.random.default_rng(seed).uniform(low, 1, n).astype(np.float32)


@pytest.fixture
def reference(tmp_path):
    storage = Storage(str(tmp_path))
    for part in range(3):
        margins = np.append(draw(1000, part), np.nan)  # one could not be encoded
        table = pa.table({"sample_id": np.arange(1001), "margin": margins})
        storage.write_table(f"rounds/0002/scores/pool/mood/posts/part-{part}.parquet", table)
    return pool_reference(storage, "mood", 2)


def test_the_bins_of_the_pool_have_equal_size(reference):
    assert reference.counts_B.sum() == 3000
    assert np.ptp(reference.counts_B) <= 1


def test_drift_is_small_for_requests_like_the_pool_and_large_for_others(reference):
    recent = RecentMargins()
    recent.observe("2-a", draw(3000, seed=9))
    assert recent.drift(reference) < 0.02
    recent.observe("2-a", draw(3000, seed=8, low=0.6))
    assert recent.drift(reference) > 0.25


def test_drift_is_none_for_few_samples_or_without_a_pool(reference, tmp_path):
    recent = RecentMargins()
    recent.observe("2-a", draw(MIN_RECENT - 1, seed=9))
    assert recent.drift(reference) is None
    recent.observe("2-a", [0.5])
    assert recent.drift(reference) is not None
    assert recent.drift(pool_reference(Storage(str(tmp_path / "none")), "mood", 2)) is None


def test_scores_of_heads_are_nothing_to_compare_requests_with(reference, tmp_path):
    storage = Storage(str(tmp_path / "heads"))
    table = pa.table({"sample_id": np.arange(1000), "margin": draw(1000, 0)})
    for task in ("mood", "shape"):
        storage.write_table(f"rounds/0002/scores/pool/{task}/posts/part.parquet", table)
    storage.write_record("rounds/0002/rescored.json", Rescored({"mood": RescoredPool(9, 1000)}))
    assert pool_reference(storage, "mood", 2) is None
    assert pool_reference(storage, "shape", 2) is not None


def test_a_new_version_discards_earlier_margins(reference):
    recent = RecentMargins()
    recent.observe("2-a", draw(MIN_RECENT, seed=9))
    recent.observe("3-b", draw(1, seed=9))
    assert recent.drift(reference) is None
