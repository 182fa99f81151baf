import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods import clustering
from umc_ray.methods.clustering import backend, density_clusters, kmeans


def blobs(n=300, centers=6, d=5, spread=0.5):
    x_ND, y_N = make_blobs(n, d, centers=centers, cluster_std=spread, random_state=0)
    return torch.tensor(x_ND, dtype=torch.float32), y_N


def same_partition(a_N, b_N):
    pairs = {(int(a), int(b)) for a, b in zip(a_N, b_N, strict=True)}
    return len(pairs) == len(set(a_N.tolist())) == len(set(b_N.tolist()))


def test_separate_blobs_are_found():
    x_ND, truth_N = blobs()
    clusters = kmeans(x_ND, 6, seed=0)
    assert same_partition(clusters.labels_N, truth_N)
    assert (clusters.n_empty, clusters.backend) == (0, "torch")


@pytest.mark.parametrize("weighted", [False, True])
def test_lloyd_equals_scikit_learn_from_the_same_start(weighted):
    x_ND, _ = blobs(spread=4.0)
    x_ND -= x_ND.mean(0)
    weight_N = torch.linspace(0.1, 2, len(x_ND)) if weighted else torch.ones(len(x_ND))
    start_KD = x_ND[:12]
    centers_KD = clustering._lloyd(x_ND, weight_N, start_KD, 100, 0.0)
    oracle = KMeans(12, init=start_KD.numpy(), n_init=1, max_iter=100, tol=0)
    oracle.fit(x_ND.numpy(), sample_weight=weight_N.numpy())
    np.testing.assert_allclose(centers_KD.numpy(), oracle.cluster_centers_, atol=1e-4)


def test_seeding_is_as_good_as_scikit_learns():
    x_ND, _ = blobs(n=2000, centers=150, d=16, spread=1.0)
    ours = np.mean([kmeans(x_ND, 100, seed=seed).inertia for seed in range(3)])
    theirs = [
        KMeans(100, n_init=1, max_iter=20, random_state=seed).fit(x_ND.numpy()).inertia_
        for seed in range(3)
    ]
    assert ours < 1.03 * np.mean(theirs)


def test_a_start_on_a_sample_is_nearly_as_good_as_one_on_all(monkeypatch):
    x_ND, _ = blobs(n=4000, centers=30, d=8, spread=3.0)
    full = kmeans(x_ND, 20, seed=0).inertia  # 4000 > 2 * 32 * 20: on a sample
    monkeypatch.setattr(clustering, "_START_ROWS", 4000)
    assert full < 1.03 * kmeans(x_ND, 20, seed=0).inertia


def test_labels_centers_and_inertia_are_consistent():
    x_ND, _ = blobs(spread=3.0)
    weight_N = torch.linspace(0.1, 2, len(x_ND))
    clusters = kmeans(x_ND, 25, seed=3, sample_weight_N=weight_N)
    distances_NK = np.linalg.norm(x_ND.numpy()[:, None] - clusters.centers_KD, axis=2)
    np.testing.assert_array_equal(distances_NK.argmin(1), clusters.labels_N)
    by_hand = (weight_N.numpy() * distances_NK.min(1) ** 2).sum()
    assert clusters.inertia == pytest.approx(by_hand, rel=1e-4)


def test_the_same_seed_gives_the_same_clusters_and_another_gives_others():
    x_ND, _ = blobs(spread=4.0)
    first, again, other = (kmeans(x_ND, 40, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.labels_N, again.labels_N)
    assert not same_partition(first.labels_N, other.labels_N)


def test_the_block_size_does_not_change_the_clusters(monkeypatch):
    x_ND, _ = blobs(spread=2.0)
    whole = kmeans(x_ND, 30, seed=0)
    monkeypatch.setattr(clustering, "_BLOCK", 64)
    assert same_partition(whole.labels_N, kmeans(x_ND, 30, seed=0).labels_N)


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 60), st.integers(0, 3))
def test_clusters_never_outnumber_distinct_points(n_distinct, copies, k, seed):
    points_ND = torch.randn(n_distinct, 7, generator=torch.Generator().manual_seed(seed)) + 50
    clusters = kmeans(points_ND.repeat(copies, 1), k, seed=seed)
    assert len(clusters.centers_KD) == min(k, n_distinct) == k - clusters.n_empty
    assert sorted(set(clusters.labels_N.tolist())) == list(range(len(clusters.centers_KD)))
    if k >= n_distinct:
        assert clusters.inertia < 1e-3


def test_an_empty_cluster_moves_to_the_farthest_point():
    x_ND = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    start_KD = torch.tensor([[1.0], [-50.0]])
    centers_KD = clustering._lloyd(x_ND, torch.ones(4), start_KD, 10, 0.0)
    assert sorted(centers_KD[:, 0].tolist()) == [1.0, 10.0]


def test_weights_move_centers():
    x_ND = torch.tensor([[0.0], [1.0]])
    clusters = kmeans(x_ND, 1, seed=0, sample_weight_N=torch.tensor([1.0, 3.0]))
    assert clusters.centers_KD[0, 0] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("x_ND", "weight_N", "message"),
    [
        (torch.zeros(0, 3), None, "N x D"),
        (torch.tensor([[1.0], [float("nan")]]), None, "1 points"),
        (torch.zeros(2, 1), torch.tensor([1.0, -1.0]), "2 weights"),
        (torch.zeros(2, 1), torch.zeros(2), "not all 0"),
        (torch.zeros(2, 1), torch.ones(3), "2 weights"),
    ],
)
def test_bad_points_and_weights_are_an_error(x_ND, weight_N, message):
    with pytest.raises(DataError, match=message):
        kmeans(x_ND, 1, seed=0, sample_weight_N=weight_N)


def test_zero_clusters_are_an_error():
    with pytest.raises(ConfigError, match="got k = 0"):
        kmeans(torch.zeros(2, 1), 0, seed=0)


@pytest.mark.parametrize(("method", "eps"), [("hdbscan", None), ("dbscan", 2.0)])
def test_density_finds_blobs_and_leaves_noise_out(method, eps):
    x_ND, truth_N = blobs()
    x_ND = torch.cat([x_ND, torch.full((1, 5), 1000.0)])
    clusters = density_clusters(x_ND, method, eps=eps)
    assert clusters.labels_N[-1] == -1
    inside = clusters.labels_N[:-1] >= 0
    assert same_partition(clusters.labels_N[:-1][inside], truth_N[inside])
    nearest = np.linalg.norm(x_ND.numpy()[:, None] - clusters.centers_KD, axis=2).argmin(1)
    np.testing.assert_array_equal(nearest[:-1][inside], clusters.labels_N[:-1][inside])


def test_points_that_are_all_noise_give_no_clusters():
    x_ND = torch.arange(20.0)[:, None] * 100
    clusters = density_clusters(x_ND, "dbscan", eps=1.0)
    assert clusters.centers_KD.shape == (0, 1)
    assert clusters.inertia == 0


def test_density_needs_a_known_method_and_a_radius():
    with pytest.raises(ConfigError, match="optics"):
        density_clusters(torch.zeros(3, 1), "optics")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="eps"):
        density_clusters(torch.zeros(3, 1), "dbscan")


def test_cuml_is_used_only_with_a_gpu(monkeypatch):
    monkeypatch.setattr(clustering, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backend() == "torch"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend() == "cuml"
