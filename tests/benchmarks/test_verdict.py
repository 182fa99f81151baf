"""The evaluation of campaigns, on curves that can be checked by hand."""

import numpy as np
import pytest

from benchmarks.verdict import (
    best_peer,
    compared,
    figures,
    holm,
    labels_needed,
    saved,
    saved_as_random,
)


def curve(*accuracies):
    return {
        "labels": [20, 30, 45],
        **{key: list(accuracies) for key in ("accuracy", "macro", "worst")},
        "transfer": 0.5,
        "cpu_s": 0.0,
    }


RUNS = {
    "full": [{"accuracy": 0.8}, {"accuracy": 0.8}],
    "random": [curve(0.5, 0.6, 0.76), curve(0.5, 0.6, 0.76)],
    "cluster": [curve(0.7, 0.8, 0.8), curve(0.6, 0.79, 0.8)],
    "skactiveml falcun": [curve(0.6, 0.6, 0.7), curve(0.6, 0.7, 0.7)],
    "baal power entropy": [curve(0.5, 0.6, 0.7), curve(0.5, 0.6, 0.6)],
}


def test_labels_to_a_share_of_the_full_accuracy_lie_on_the_curve():
    # 95 % of 0.8 is 0.76: 6/10 of the way from 20 to 30 labels, and 16/19 of it
    np.testing.assert_allclose(labels_needed(RUNS, "cluster", 0.95), [26, 20 + 160 / 19])
    assert np.isinf(labels_needed(RUNS, "random", 0.95)).all()


def test_a_campaign_that_misses_the_target_counts_with_all_labels():
    needed = (26 + 20 + 160 / 19) / 2
    assert saved(RUNS, "cluster", 0.95) == pytest.approx(1 - needed / 45)
    assert saved(RUNS, "baal power entropy", 0.95) == 0
    assert saved_as_random(RUNS, "cluster") == pytest.approx(1 - needed / 45)
    late = {**RUNS, "random": RUNS["cluster"], "cluster": RUNS["baal power entropy"]}
    assert saved(late, "cluster", 0.95) == pytest.approx(1 - 45 / needed)


def test_holm_corrects_for_the_remaining_tests_and_keeps_the_order():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_the_best_peer_is_the_best_in_hindsight_and_never_ours():
    assert best_peer(RUNS) == "skactiveml falcun"


def test_arms_are_compared_in_pairs():
    found = compared(RUNS, "random", ["cluster", "baal power entropy"])
    gain, p = found["cluster"]
    areas = [(0.75 * 10 + 0.8 * 15) / 25, ((0.695 * 10) + 0.795 * 15) / 25]
    np.testing.assert_allclose(gain, np.subtract(areas, (0.55 * 10 + 0.68 * 15) / 25))
    t = np.mean(gain) / (np.std(gain, ddof=1) / 2**0.5)
    assert p == pytest.approx(2 * (1 - 2 / np.pi * np.arctan(t)))  # t of one degree of freedom
    assert compared(RUNS, "random", ["random"])["random"][1] == 1.0


def test_the_summary_counts_all_sets_and_takes_savings_from_clean_ones_only():
    found = figures({"one": RUNS, "two": RUNS}, "cluster", ["two"])
    assert found["clean_saved_95"].values == [saved(RUNS, "cluster", 0.95)]
    assert found["worse_than_random"].values == [0.0]
    assert found["ahead_of_best_peer"].values == [1.0]
    assert len(found["gain_cluster"].values) == 2
