"""Campaigns of the label efficiency benchmark, on a set that is easy."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.arms import ARMS, State, drawn
from benchmarks.probe import Protocol, Split, full_accuracy, play, scaled
from benchmarks.sets import LabeledSet

OURS = [name for name in ARMS if " " not in name]


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 3, 400)
    features_ND = (3 * np.eye(3)[labels_N] + rng.normal(size=(400, 3))).astype(np.float32)
    return Split.of(scaled(LabeledSet(features_ND, labels_N, labels_N, labels_N)), seed=1)


def test_a_protocol_ends_before_half_of_the_pool_is_bought():
    assert Protocol(20, 0.5).batches(130) == [20, 10, 15]
    assert Protocol(100, 1.0).batches(10_000) == [100, 100, 200, 400, 800]


def test_pool_and_test_share_nothing(split):
    assert not set(split.pool_P) & set(split.test_T)
    assert len(split.test_T) == 120
    assert np.isclose((split.data.features_ND**2).mean(), 1, atol=1e-3)


@pytest.mark.parametrize("name", OURS)
def test_every_arm_buys_new_samples_and_learns(split, name):
    with threadpool_limits(1):
        found = play(split, ARMS[name], [10, 10, 20], seed=1)
        assert found["labels"] == [10, 20, 40]
        assert found["accuracy"][-1] > 0.9 * full_accuracy(split)
        assert found["worst"][-1] <= found["macro"][-1]


def test_arms_that_take_the_common_first_batch_take_the_same():
    state = State(
        np.zeros((50, 2), np.float32), *[np.arange(0)] * 2, np.arange(50), None, None, 5, 3
    )
    assert drawn(state).tolist() == ARMS["top"](state).tolist()
    assert drawn(state).tolist() == ARMS["skactiveml falcun"](state).tolist()


def test_an_arm_that_buys_a_sample_twice_is_stopped(split):
    with pytest.raises(RuntimeError, match="repeats"):
        play(split, lambda state: np.array([0, 0]), [2], seed=0)
