import numpy as np
import pytest

from umc_ray.methods import coverage
from umc_ray.methods.coverage import (
    k_center,
    lazy_greedy,
    max_coverage,
    squared_distances,
    typicality,
)

NONE_LD = np.zeros((0, 3), np.float32)


def points(n=40, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def exhaustive_coverage(x_ND, weights_N, batch, labeled_LD):
    """Pick greedily by evaluating the covered similarity for every possible next pick."""
    width = x_ND.var(0).sum()
    if len(labeled_LD):
        width = squared_distances(labeled_LD, x_ND).min(0).mean()

    def covered(chosen_MD):
        squares = ((x_ND[:, None] - chosen_MD[None]) ** 2).sum(2)
        return (weights_N * np.exp(-squares / width).max(1)).sum()

    picks = []
    for _ in range(batch):
        totals = [
            -np.inf if i in picks else covered(np.concatenate([labeled_LD, x_ND[[*picks, i]]]))
            for i in range(len(x_ND))
        ]
        picks.append(int(np.argmax(totals)))
    return picks


@pytest.mark.parametrize("n_labeled", [0, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_herding_equals_an_exhaustive_search(monkeypatch, n_labeled, weighted):
    monkeypatch.setattr(coverage, "_REFRESH", 2)
    x_ND, labeled_LD = points(), points(n_labeled, seed=1)
    weights_N = np.linspace(0.1, 1, 40, dtype=np.float32) if weighted else np.ones(40, np.float32)
    picks = max_coverage(x_ND, weights_N, 12, seed=0, labeled_LD=labeled_LD)
    assert picks.tolist() == exhaustive_coverage(x_ND, weights_N, 12, labeled_LD)


def test_a_sample_of_references_covers_nearly_as_well(monkeypatch):
    x_ND, ones_N = points(600), np.ones(600, np.float32)
    full = max_coverage(x_ND, ones_N, 20, seed=0, labeled_LD=NONE_LD)
    monkeypatch.setattr(coverage, "_KERNEL", 600)
    monkeypatch.setattr(coverage, "_MIN_REFERENCES", 200)
    sampled = max_coverage(x_ND, ones_N, 20, seed=0, labeled_LD=NONE_LD)
    radii = [squared_distances(x_ND, x_ND[picks]).min(1).mean() for picks in (full, sampled)]
    assert sampled.tolist() != full.tolist()
    assert radii[1] < 1.15 * radii[0]


def test_lazy_picks_equal_eager_ones_and_evaluate_less(monkeypatch):
    monkeypatch.setattr(coverage, "_REFRESH", 2)
    # the gain of a set is the number of elements that it adds to the covered ones
    rng = np.random.default_rng(0)
    covers = [set(rng.integers(0, 900, size=rng.integers(1, 40))) for _ in range(400)]
    evaluated = []

    def gains(rows, picks):
        seen = set().union(*(covers[i] for i in picks))
        evaluated.extend(rows)
        return np.array([len(covers[i] - seen) for i in rows], np.float32)

    lazy = lazy_greedy(gains, 400, 30).tolist()
    n_evaluated = len(evaluated)
    eager = []
    for _ in range(30):
        gain_N = gains(np.arange(400), eager)
        gain_N[eager] = -1
        eager.append(int(gain_N.argmax()))
    assert lazy == eager
    assert n_evaluated < 400 * 30 / 2


def test_k_center_takes_the_farthest_point_every_time():
    x_ND, labeled_LD = points(), points(2, seed=1)
    known, expected = list(labeled_LD), []
    for _ in range(10):
        nearest_N = [min(((x - center) ** 2).sum() for center in known) for x in x_ND]
        expected.append(int(np.argmax(nearest_N)))
        known.append(x_ND[expected[-1]])
    assert k_center(x_ND, 10, labeled_LD=labeled_LD).tolist() == expected


def test_k_center_without_labels_starts_at_the_point_farthest_from_the_mean():
    x_ND = np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)
    assert k_center(x_ND, 4, labeled_LD=NONE_LD[:, :1]).tolist() == [3, 0, 1, 2]


@pytest.mark.parametrize("kernel", [2**25, 64])
def test_typicality_is_the_inverse_mean_distance_to_the_nearest(monkeypatch, kernel):
    monkeypatch.setattr(coverage, "_KERNEL", kernel)
    x_ND = points(15)
    distances_NN = np.sqrt(((x_ND[:, None] - x_ND[None]) ** 2).sum(2))
    expected = 1 / np.sort(distances_NN, axis=1)[:, 1:5].mean(1)
    np.testing.assert_allclose(typicality(x_ND, 4), expected, rtol=1e-3)


def test_a_single_point_has_typicality_0():
    assert typicality(np.ones((1, 3), np.float32)).tolist() == [0]
