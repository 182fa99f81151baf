from dataclasses import replace

import numpy as np
import pytest
import torch

from umc_ray.methods import with_without
from umc_ray.methods.with_without import FOLDS, Bought, Labels, gains

PER_CLASS = 60


def cross_entropy(logits_MNC, y_N):
    return -torch.log_softmax(logits_MNC, 2)[:, torch.arange(len(y_N)), y_N]


def labels(brought_right=True):
    """Two classes on a line; the last 30 samples of each are what an action brought.

    What is plain lies far from the border, where nothing is to be learned.
    """
    rng = np.random.default_rng(0)
    near = rng.normal(0, 0.3, PER_CLASS) + np.repeat([-0.4, 0.4], PER_CLASS // 2)
    far = np.repeat([-6.0, 6.0], PER_CLASS // 2)
    x_N = np.concatenate([near, far, near + rng.normal(0, 0.05, PER_CLASS)])
    classes = np.repeat([0, 1], PER_CLASS // 2)
    right = classes if brought_right else 1 - classes
    targets = np.concatenate([classes, classes, right])
    n = len(x_N)
    folds_N = rng.integers(0, FOLDS, n)
    return Labels(
        x_ND=np.stack([x_N, rng.normal(size=n)], 1).astype(np.float32),
        targets=targets,
        strata_N=targets,
        weights_N=np.ones(n, np.float32),
        cost_N=np.ones(n),
        folds_N=folds_N,
        taught_NF=folds_N[:, None] != np.arange(FOLDS),
    )


def bought(cost=PER_CLASS):
    rows = np.arange(3 * PER_CLASS) // PER_CLASS
    return Bought(rows == 2, float(cost), rows == 1, rows == 0, {"gap": rows == 0})


def gain(labels, bought):
    return gains(labels, [bought], 2, cross_entropy, seed=0)[0]["gap"]


def test_samples_that_teach_more_than_plain_ones_have_a_gain_and_wrong_ones_a_loss():
    right, wrong = gain(labels(), bought()), gain(labels(brought_right=False), bought())
    assert wrong.value < -2 * wrong.error
    assert right.value > wrong.value
    assert right.cost == PER_CLASS


def test_equal_samples_have_no_gain():
    known = labels()
    x_ND, targets = known.x_ND.copy(), known.targets.copy()
    x_ND[PER_CLASS : 2 * PER_CLASS] = x_ND[2 * PER_CLASS :]
    folds_N = known.folds_N.copy()
    folds_N[PER_CLASS : 2 * PER_CLASS] = folds_N[2 * PER_CLASS :]
    taught_NF = folds_N[:, None] != np.arange(FOLDS)
    same = replace(known, x_ND=x_ND, targets=targets, folds_N=folds_N, taught_NF=taught_NF)
    assert gain(same, bought()).value == pytest.approx(0.0, abs=1e-4)


def test_what_people_rejected_costs_as_much_and_brings_nothing():
    half = replace(bought(), brought_N=bought().brought_N & (np.arange(180) % 2 == 0))
    match = with_without._match(labels(), half, np.random.default_rng(0))
    assert (len(match.brought), len(match.plain)) == (PER_CLASS // 2, PER_CLASS)
    nothing = replace(bought(), brought_N=np.zeros(180, bool))
    weights_MN = with_without._weights(
        labels(), with_without._match(labels(), nothing, np.random.default_rng(0))
    )
    plain_MN, without_MN = weights_MN[::2], weights_MN[1::2]
    assert plain_MN[:, PER_CLASS : 2 * PER_CLASS].any()
    assert not without_MN[:, PER_CLASS : 2 * PER_CLASS].any()


def test_costs_are_matched_where_plain_labels_are_fewer():
    few = replace(bought(), plain_N=bought().plain_N & (np.arange(180) < 80))
    match = with_without._match(labels(), few, np.random.default_rng(0))
    assert (match.cost, len(match.brought), len(match.plain)) == (20, 20, 20)


def test_nothing_teaches_about_what_it_was_made_from():
    known = labels()
    known.taught_NF[2 * PER_CLASS :, 0] = False
    match = with_without._match(known, bought(), np.random.default_rng(0))
    plain_N, action_N = with_without._weights(known, match)[:2]
    assert not action_N[2 * PER_CLASS :].any()
    assert not plain_N[PER_CLASS : 2 * PER_CLASS].any()  # as many are left out
    assert not plain_N[known.folds_N == 0].any()


def test_too_little_is_not_measured():
    none = np.zeros(180, bool)
    few = replace(bought(), plain_N=none)
    unseen = replace(bought(), lacking={"gap": none, "other": bought().overall_N})
    found = gains(labels(), [few, unseen, replace(bought(), cost=0.0)], 2, cross_entropy, seed=0)
    assert [list(each) for each in found] == [[], ["other"], []]
