import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umc_ray.errors import DataError
from umc_ray.methods.consensus import (
    SMOOTHING,
    crowdlab,
    dawid_skene,
    krippendorff_alpha,
    majority,
    needs_more_votes,
    one_rate,
)

FOUR_OBSERVERS = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]
THREE_CODERS = [
    ". . . . . 3 4 1 2 1 1 3 3 . 3",
    "1 . 2 1 3 3 4 3 . . . . . . .",
    ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
]


def votes_of(table):
    """Read one line per annotator, classes from 1, as arrays of items, annotators, labels."""
    votes = [
        (item, annotator, int(cell) - 1)
        for annotator, line in enumerate(table)
        for item, cell in enumerate(line.split())
        if cell != "."
    ]
    return tuple(np.array(column) for column in zip(*votes, strict=True))


def simulated_votes(seed, accuracy_A, items=400, votes=3, classes=3):
    dice = np.random.default_rng(seed)
    true_N = dice.integers(0, classes, items)
    item_M = np.repeat(np.arange(items), votes)
    people = [dice.choice(len(accuracy_A), votes, replace=False) for _ in range(items)]
    annotator_M = np.concatenate(people)
    wrong_M = (true_N[item_M] + dice.integers(1, classes, len(item_M))) % classes
    right_M = dice.random(len(item_M)) < np.asarray(accuracy_A)[annotator_M]
    return true_N, item_M, annotator_M, np.where(right_M, true_N[item_M], wrong_M)


def slow_dawid_skene(item_M, annotator_M, label_M, classes, steps):
    """Follow the paper's equations 2.3 to 2.5 vote by vote."""
    items, people = max(item_M) + 1, max(annotator_M) + 1
    soft = [[0.0] * classes for _ in range(items)]
    for i, label in zip(item_M, label_M, strict=True):
        soft[i][label] += 1 / sum(item_M == i)
    for _ in range(steps):
        prior = [sum(row[t] for row in soft) / items for t in range(classes)]
        pi = np.full((people, classes, classes), SMOOTHING)
        for i, a, label in zip(item_M, annotator_M, label_M, strict=True):
            for t in range(classes):
                pi[a][t][label] += soft[i][t]
        pi /= pi.sum(2, keepdims=True)
        soft = [list(prior) for _ in range(items)]
        for i, a, label in zip(item_M, annotator_M, label_M, strict=True):
            for t in range(classes):
                soft[i][t] *= pi[a][t][label]
        soft = [[value / sum(row) for value in row] for row in soft]
    return np.array(soft)


@pytest.mark.parametrize(
    ("table", "classes", "published"), [(FOUR_OBSERVERS, 5, 0.743), (THREE_CODERS, 4, 0.691)]
)
def test_alpha_has_the_published_values(table, classes, published):
    assert krippendorff_alpha(*votes_of(table), classes) == pytest.approx(published, abs=5e-4)


def test_alpha_is_one_in_agreement_and_undefined_without_anything_to_compare():
    assert krippendorff_alpha(*votes_of(["1 2 1", "1 2 1"]), 2) == 1.0
    assert np.isnan(krippendorff_alpha(*votes_of(["1 2 1"]), 2))
    assert np.isnan(krippendorff_alpha(*votes_of(["1 1", "1 1"]), 2))


def test_dawid_skene_follows_the_paper_vote_by_vote():
    votes = votes_of(FOUR_OBSERVERS)
    found = dawid_skene(*votes, 5)
    np.testing.assert_allclose(found.consensus.soft_NC, slow_dawid_skene(*votes, 5, 200), atol=1e-4)


@pytest.mark.parametrize("one_coin", [False, True])
def test_people_are_told_apart_and_the_consensus_gains_from_it(one_coin):
    accuracy_A = [0.9, 0.8, 0.7, 0.6, 0.5]
    true_N, *votes = simulated_votes(0, accuracy_A, items=2000)
    crowd = dawid_skene(*votes, 3, one_coin=one_coin)
    assert crowd.annotator_A.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(crowd.accuracy_A, accuracy_A, atol=0.06)
    plain = (majority(*votes, 3).label_N == true_N).mean()
    assert (crowd.consensus.label_N == true_N).mean() > plain + 0.015


def test_one_coin_spreads_errors_evenly_over_the_other_classes():
    _, *votes = simulated_votes(1, [0.9, 0.6, 0.6])
    for confusion_CC in dawid_skene(*votes, 3, one_coin=True).confusion_ACC:
        assert np.ptp(np.diag(confusion_CC)) == 0
        assert np.ptp(confusion_CC[~np.eye(3, dtype=bool)]) == 0
        np.testing.assert_allclose(confusion_CC.sum(1), 1)


def test_a_person_who_always_errs_in_the_same_way_still_informs():
    """Two swap classes 0 and 1; with three who do not, the swaps are as telling as the truth."""
    _, *votes = simulated_votes(2, [1.0, 1.0, 1.0, 0.0, 0.0], votes=5, classes=2)
    crowd = dawid_skene(*votes, 2)
    assert crowd.consensus.agreement_N.min() > 0.99
    np.testing.assert_allclose(crowd.confusion_ACC[3], [[0, 1], [1, 0]], atol=0.01)


def test_no_votes_give_an_empty_consensus():
    none = np.array([], dtype=np.int64)
    assert len(dawid_skene(none, none, none, 2).consensus.item_N) == 0


def test_crowdlab_lets_a_good_model_settle_what_people_cannot():
    pytest.importorskip("cleanlab", reason="the extra umc_ray[crowd] is not installed")
    true_N, *votes = simulated_votes(3, [0.7, 0.6, 0.55, 0.5])
    probs_NC = np.full((len(true_N), 3), 0.05)
    probs_NC[np.arange(len(true_N)), true_N] = 0.9
    probs_NC[::10] = np.roll(probs_NC[::10], 1, axis=1)  # a tenth is wrong
    consensus, quality_A = crowdlab(*votes, probs_NC)
    plain = (majority(*votes, 3).label_N == true_N).mean()
    assert (consensus.label_N == true_N).mean() > plain + 0.05
    assert quality_A.argmax() == 0
    np.testing.assert_allclose(consensus.soft_NC.sum(1), 1)
    assert (consensus.soft_NC.min(1) >= 0).all()


def test_crowdlab_says_when_nobody_can_be_compared():
    pytest.importorskip("cleanlab", reason="the extra umc_ray[crowd] is not installed")
    with pytest.raises(DataError, match="two votes"):
        crowdlab(*votes_of(["1 2"]), np.full((2, 2), 0.5))


def test_only_doubtful_items_below_the_limit_get_another_vote():
    consensus = majority(*votes_of(["1 1 1", "1 2 2", "1 1 1"]), 2)
    assert needs_more_votes(consensus, np.array([3, 3, 5]), 5, 0.8).tolist() == [1]
    assert needs_more_votes(consensus, np.array([3, 3, 3]), 5, 0.6).tolist() == []


def test_the_one_rate_follows_from_how_often_two_people_agree():
    # Of 100 items with two votes, 82 agree: q^2 + (1 - q)^2 = 0.82 at q = 0.9.
    items = np.repeat(np.arange(100), 2)
    people = np.tile([0, 1], 100)
    labels = np.where((items >= 82) & (people == 1), 1, 0)
    found = one_rate(items, people, labels, 2)
    both, split = found.soft_NC[0], found.soft_NC[99]
    assert both[0] == pytest.approx(0.81 / 0.82, abs=1e-3)
    assert split.tolist() == pytest.approx([0.5, 0.5])


def test_a_prior_decides_where_votes_do_not():
    items, people = np.array([0, 0, 1, 1, 2, 2]), np.tile([0, 1], 3)
    labels = np.array([0, 1, 1, 1, 0, 0])
    prior = np.array([[0.2, 0.8], [0.5, 0.5], [0.5, 0.5]])
    found = one_rate(items, people, labels, 2, prior)
    assert found.label_N.tolist() == [1, 1, 0]
    assert found.soft_NC[0].tolist() == pytest.approx([0.2, 0.8])


@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 2**31))
def test_one_rate_gives_probabilities_and_never_less_to_more_votes(n_classes, n, seed):
    rng = np.random.default_rng(seed)
    items, people = np.repeat(np.arange(n), 3), np.tile(np.arange(3), n)
    labels = rng.integers(n_classes, size=3 * n)
    found = one_rate(items, people, labels, n_classes)
    np.testing.assert_allclose(found.soft_NC.sum(1), 1)
    counts = np.zeros((n, n_classes))
    np.add.at(counts, (items, labels), 1)
    for row in range(n):
        order = np.argsort(counts[row])
        assert (np.diff(found.soft_NC[row][order]) >= -1e-12).all()
