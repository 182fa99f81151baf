"""Weights of an ensemble's members. Suffixes: S specialists, N samples, C classes."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from umc_ray.methods.stacking import GROUP_SPREAD, STRENGTH, sharpen, sharpen_groups, stack
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KIND = Classification(("a", "b", "c"))


def opinions(n, *signals, seed=0):
    """Probabilities of specialists that see the class with more or less noise."""
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(3, size=n)
    logits = [s * np.eye(3)[labels_N] + rng.normal(size=(n, 3)) for s in signals]
    probs_SNC = torch.from_numpy(np.stack(logits)).softmax(-1)
    return probs_SNC, torch.from_numpy(labels_N)


def weigh(probs_SNC, labels_N, kind=KIND):
    return stack(probs_SNC, labels_N, kind.pooling, kind.log_loss)


def loss(weights_S, probs_SNC, labels_N):
    mean_NC = KIND.pooling(probs_SNC)(torch.tensor(weights_S))
    return float(KIND.log_loss(mean_NC, labels_N).mean())


def test_weights_are_what_a_general_optimizer_finds():
    probs_SNC, labels_N = opinions(200, 2.0, 1.0, 0.5)

    def objective(relative_S):
        prior = 0.5 * STRENGTH * ((relative_S - 1) ** 2).mean()
        return 200 * loss(relative_S / 3, probs_SNC, labels_N) + prior

    best = minimize(objective, np.ones(3), method="L-BFGS-B", bounds=[(0, None)] * 3).x
    np.testing.assert_allclose(weigh(probs_SNC, labels_N), best / best.sum(), atol=1e-3)


def test_who_knows_more_counts_more_and_noise_nothing():
    weights_S = weigh(*opinions(2000, 2.0, 0.5, 0.0))
    assert weights_S[0] > 2 * weights_S[1] > 0
    assert weights_S[2] < 0.05
    assert sum(weights_S) == pytest.approx(1)


def test_groups_are_as_sure_as_the_best_of_many_scales_says():
    """By grid, against samples that are all harder: what is common to all groups cancels."""
    probs_SNC, labels_N = opinions(300, 2.0, 1.0)
    groups_N = np.where(np.arange(300) % 3 == 0, "noisy", "clean")
    labels_N = torch.where(torch.arange(300) % 6 == 0, (labels_N + 1) % 3, labels_N)
    grid = np.exp(np.linspace(-1, 1, 201))

    def best(rows, before, spread):
        totals = [
            loss(before * scale, probs_SNC[:, rows], labels_N[rows]) * len(rows)
            + 0.5 * (np.log(scale) / spread) ** 2
            for scale in grid
        ]
        return grid[np.argmin(totals)]

    weights_S = np.array([0.6, 0.4])
    overall = best(torch.arange(300), weights_S, 1.0)
    found = sharpen_groups(probs_SNC, labels_N, [0.6, 0.4], groups_N, KIND.pooling, KIND.log_loss)
    for group in ("clean", "noisy"):
        rows = torch.from_numpy(np.flatnonzero(groups_N == group))
        expected = best(rows, weights_S * overall, GROUP_SPREAD)
        assert found[group] == pytest.approx(expected, rel=0.01)
    assert found["noisy"] < 0.85 < 1.05 < found["clean"]


def test_few_samples_leave_the_weights_nearly_equal():
    np.testing.assert_allclose(weigh(*opinions(3, 2.0, 0.0)), 0.5, atol=0.12)


def test_the_order_of_the_members_does_not_matter():
    probs_SNC, labels_N = opinions(100, 2.0, 1.0, 0.2)
    np.testing.assert_allclose(
        weigh(probs_SNC, labels_N)[::-1], weigh(probs_SNC.flip(0), labels_N), atol=1e-4
    )


def test_a_product_of_independent_members_is_made_as_sure_as_it_should_be():
    """Each alone is calibrated; together they know more, and equal shares would be too timid."""
    probs_SNC, labels_N = opinions(4000, 1.0, 1.0)
    shares = weigh(probs_SNC, labels_N)
    scaled = sharpen(probs_SNC, labels_N, shares, torch.ones(4000), KIND.pooling, KIND.log_loss)
    # the logits are proportional to the logarithm of the likelihood, so their sum is the posterior
    np.testing.assert_allclose(scaled, 1.0, atol=0.1)
    assert loss(scaled, probs_SNC, labels_N) < loss(shares, probs_SNC, labels_N)


def test_only_what_counts_decides_how_sure_the_ensemble_is():
    probs_SNC, labels_N = opinions(600, 1.5, 1.5)
    wrong_N = torch.where(torch.arange(600) < 300, labels_N, (labels_N + 1) % 3)
    importance_N = (torch.arange(600) < 300).double()
    half = sharpen(probs_SNC, wrong_N, [0.5, 0.5], importance_N, KIND.pooling, KIND.log_loss)
    alone = sharpen(
        probs_SNC[:, :300],
        labels_N[:300],
        [0.5, 0.5],
        torch.ones(300),
        KIND.pooling,
        KIND.log_loss,
    )
    np.testing.assert_allclose(half, alone, rtol=1e-3)


def test_labels_that_are_judged_for_themselves_are_weighed_too():
    kind = MultiLabel(("a", "b"))
    rng = np.random.default_rng(0)
    targets_NC = rng.integers(2, size=(500, 2)).astype(np.float32)
    signs_NC = 2 * targets_NC - 1
    logits = [2 * signs_NC + rng.normal(size=(500, 2)), rng.normal(size=(500, 2))]
    probs_SNC = torch.from_numpy(np.stack(logits)).sigmoid()
    weights_S = stack(probs_SNC, torch.from_numpy(targets_NC), kind.pooling, kind.log_loss)
    assert weights_S[0] > 0.9


@pytest.mark.parametrize("kind", [KIND, MultiLabel(("a", "b", "c"))])
def test_equal_weights_of_equal_members_change_nothing(kind):
    probs_NC = opinions(50, 1.0)[0][0].float()
    same_SNC = torch.stack([probs_NC] * 3)
    found_NC = kind.pooling(same_SNC)(torch.full((3,), 1 / 3))
    torch.testing.assert_close(found_NC, probs_NC, atol=1e-5, rtol=1e-4)
    measured = kind.measures(same_SNC, {"weights": [0.2, 0.3, 0.5]}).mean_NC
    torch.testing.assert_close(measured, probs_NC, atol=1e-5, rtol=1e-4)


def test_among_many_equal_members_each_counts():
    """Of a specialist per domain of a hundred domains, none has a fiftieth of all weights."""
    weights_S = weigh(*opinions(60, *[1.0] * 101))
    assert sum(weights_S) == pytest.approx(1)
    assert min(weights_S) > 0
