"""Campaigns of the label efficiency benchmark, on an easy set."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.probe import Protocol, Split, full_accuracy, play, scaled
from benchmarks.sets import LabeledSet
from benchmarks.strategies import STRATEGIES, State, drawn

OURS = [name for name in STRATEGIES if " " not in name]


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
def test_every_strategy_buys_new_samples_and_learns(split, name):
    with threadpool_limits(1):
        curves = play(split, STRATEGIES[name], [10, 10, 20], seed=1)
        assert curves["labels"] == [10, 20, 40]
        assert curves["accuracy"][-1] > 0.9 * full_accuracy(split)
        assert curves["worst"][-1] <= curves["macro"][-1]


def test_strategies_with_the_common_first_batch_pick_the_same_one():
    state = State(
        np.zeros((50, 2), np.float32), *[np.arange(0)] * 2, np.arange(50), None, None, 5, 3
    )
    assert drawn(state).tolist() == STRATEGIES["top"](state).tolist()
    assert drawn(state).tolist() == STRATEGIES["skactiveml falcun"](state).tolist()


def test_a_strategy_that_buys_a_sample_twice_is_an_error(split):
    with pytest.raises(RuntimeError, match="repeats"):
        play(split, lambda state: np.array([0, 0]), [2], seed=0)
