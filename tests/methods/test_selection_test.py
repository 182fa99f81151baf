"""Suffixes: N labeled samples, U of them drawn at random."""

from dataclasses import replace

import numpy as np
import pytest

from umc_ray.methods.selection_test import FOLDS, LEVEL, Labels, judge
from umc_ray.methods.selection_test import compare as compare_by
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KIND = Classification(("no", "yes"))


def compare(labels, kind=KIND):
    return compare_by(labels, kind.outputs, kind.loss, kind.raw_utility)


def bought_by_margin(noisy, seed=0):
    """Thirty labels at random, sixty from where the margin is small, then three rounds of draws.

    Two classes lie on both sides of a plane. Noisy: close to it, people say anything. Else most of
    the pool is far from it and so easy that a few labels are enough.
    """
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(3000, 12))
    y_N = (x_ND[:, 0] > 0).astype(np.int64)
    close_N = np.abs(x_ND[:, 0]) < 0.3
    if noisy:
        y_N[close_N] = rng.integers(2, size=close_N.sum())
    else:
        close_N = rng.random(3000) < 0.4
        x_ND[~close_N] = 0.1 * x_ND[~close_N]
        x_ND[~close_N, 11] = 6 * (2 * y_N[~close_N] - 1)
        x_ND[close_N, 11] = 0
    order = rng.permutation(3000)
    close = order[close_N[order]]
    first, margin = order[:30], close[~np.isin(close, order[:30])][:60]
    drawn = order[~np.isin(order, margin)][30:330]
    rows = np.concatenate([first, margin, drawn])
    return Labels(
        embeddings_ND=x_ND[rows].astype(np.float32),
        targets=y_N[rows],
        domains_N=np.full(390, "all"),
        rounds_N=np.repeat([1, 2, 3, 4, 5], [30, 60, 100, 100, 100]),
        random_N=np.arange(390) >= 90,
        folds_N=np.arange(390) % FOLDS,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_margins_are_worse_where_people_say_anything_close_to_the_boundary(seed):
    found = compare(bought_by_margin(noisy=True, seed=seed))
    verdict = judge(found.selected_U, found.random_U)
    assert verdict.n == 300
    assert verdict.p <= LEVEL
    assert verdict.selected < verdict.random


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_margins_are_better_where_they_tell_how_the_boundary_runs(seed):
    found = compare(bought_by_margin(noisy=False, seed=seed))
    verdict = judge(found.selected_U, found.random_U)
    assert verdict.selected > verdict.random
    assert verdict.p > 0.5


def test_the_test_is_that_of_a_fair_coin_over_the_samples_that_one_alone_had_right():
    selected_U = np.array([1, 0, 0, 0, 0, 1, 1, 0], np.bool_)
    random_U = np.array([0, 1, 1, 1, 1, 1, 1, 0], np.bool_)
    found = judge(selected_U, random_U)
    assert (found.n, found.selected, found.random) == (8, 3, 6)
    assert found.p == pytest.approx((5 + 1) / 2**5)  # four or five heads of five
    assert judge(random_U, random_U).p == 1


def one_domain(domain, first, selected, drawn):
    """Labels of one domain: round by round, how many were selected and how many drawn."""
    counts = [(1, first, False), *((2 + i, n, False) for i, n in enumerate(selected))]
    counts += [(1 + i, n, True) for i, n in enumerate(drawn)]
    rounds_N = np.concatenate([np.full(n, number) for number, n, _ in counts])
    random_N = np.concatenate([np.full(n, random) for _, n, random in counts])
    n = len(rounds_N)
    rng = np.random.default_rng(n)
    return Labels(
        embeddings_ND=rng.normal(size=(n, 4)).astype(np.float32),
        targets=rng.integers(2, size=n),
        domains_N=np.full(n, domain),
        rounds_N=rounds_N,
        random_N=random_N,
        folds_N=np.arange(n) % FOLDS,
    )


@pytest.mark.parametrize(
    ("selected", "drawn"),
    [([], [5, 5]), ([4], []), ([9], [3])],
    ids=["nothing selected after the first batch", "nothing drawn", "nothing drawn later"],
)
def test_nothing_is_said_before_there_is_something_to_compare(selected, drawn):
    assert compare(one_domain("a", 6, selected, drawn)) is None


def test_only_what_was_bought_before_the_draws_is_compared_and_each_sample_once():
    labels = one_domain("a", 6, [9, 9, 9], [5, 5, 5, 20, 20])
    base = compare(labels)
    assert len(base.random_U) == 55
    later = ~labels.random_N & (labels.rounds_N == 4)  # too late to be matched by later draws
    changed = replace(labels, targets=np.where(later, 1 - labels.targets, labels.targets))
    again = compare(changed)
    np.testing.assert_array_equal(again.selected_U, base.selected_U)
    np.testing.assert_array_equal(again.random_U, base.random_U)


def test_a_domain_is_compared_by_its_own_labels():
    labels = [one_domain("a", 6, [9], [5, 5, 9]), one_domain("b", 6, [], [7])]
    pairs = zip(*(vars(each).values() for each in labels), strict=True)
    both = Labels(*(np.concatenate(pair) for pair in pairs))
    found = compare(both)
    assert found.domains_U.tolist() == ["a"] * 19 + ["b"] * 7


def test_several_labels_are_compared_by_the_utility_of_their_sets():
    labels = one_domain("a", 6, [9, 9, 9], [5, 5, 5, 20, 20])
    first_N, second_N = labels.targets, np.roll(labels.targets, 1)
    targets_NC = np.stack([first_N, second_N], axis=1).astype(np.float32)
    found = compare(replace(labels, targets=targets_NC), MultiLabel(("a", "b")))
    assert len(found.selected_U) == len(found.random_U) == 55
    assert set(np.unique(found.selected_U)) <= {0.0, 0.5, 1.0}
    verdict = judge(found.selected_U, found.random_U)
    assert verdict.selected == pytest.approx(found.selected_U.sum())
    assert 0 <= verdict.p <= 1


def test_the_same_labels_give_the_same_verdict():
    labels = bought_by_margin(noisy=True)
    first, second = (compare(labels) for _ in range(2))
    np.testing.assert_array_equal(first.selected_U, second.selected_U)
    np.testing.assert_array_equal(first.random_U, second.random_U)
