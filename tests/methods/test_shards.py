import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from umc_ray.errors import ConfigError, DataError
from umc_ray.methods import clustering, shards
from umc_ray.methods.clustering import kmeans
from umc_ray.methods.shards import Shard, sharded_kmeans

pytestmark = pytest.mark.usefixtures("one_thread")


def blobs(n=400, centers=6, spread=0.5):
    x_ND, truth_N = make_blobs(n, 5, centers=centers, cluster_std=spread, random_state=0)
    return x_ND.astype(np.float16), truth_N


def held_by(x_ND, processes, parts=7):
    """Split points into parts and deal them to shards, last part first."""
    by_number = dict(enumerate(np.array_split(x_ND, parts)))
    numbers = list(by_number)[::-1]
    held = [Shard((i, by_number[i]) for i in numbers[p::processes]) for p in range(processes)]
    return lambda method, *arguments: [getattr(shard, method)(*arguments) for shard in held]


def test_separate_blobs_are_found():
    x_ND, truth_N = blobs()
    clusters = sharded_kmeans(held_by(x_ND, 3), 6, seed=0)
    assert len(set(zip(clusters.labels_N.tolist(), truth_N.tolist(), strict=True))) == 6
    assert (len(clusters.centers_KD), clusters.n_empty, clusters.backend) == (6, 0, "torch")


def test_the_result_does_not_depend_on_which_shard_holds_a_part():
    x_ND, _ = blobs(spread=4.0)
    one, three, seven = (sharded_kmeans(held_by(x_ND, n), 40, seed=1) for n in (1, 3, 7))
    for other in (three, seven):
        np.testing.assert_array_equal(one.labels_N, other.labels_N)
        np.testing.assert_array_equal(one.centers_KD, other.centers_KD)
        assert one.inertia == other.inertia
    assert sharded_kmeans(held_by(x_ND, 1), 40, seed=2).inertia != one.inertia


def test_with_the_same_start_it_equals_kmeans_in_one_process():
    x_ND, _ = blobs(spread=4.0)
    centered_ND = torch.from_numpy(x_ND.astype(np.float32))
    mean_D = centered_ND.mean(0)
    centered_ND -= mean_D
    start_KD = centered_ND[:25].numpy().copy()
    start_KD[3] = 1000  # an empty cluster: moves to the farthest point
    weight_N = torch.ones(len(x_ND))
    expected_KD = clustering._lloyd(centered_ND, weight_N, torch.tensor(start_KD), 20, 1e-3)
    call = held_by(x_ND, 3)
    call("begin", mean_D.numpy())
    centers_KD = shards._lloyd(call, start_KD, mean_D.numpy(), 20, 1e-3)
    np.testing.assert_allclose(centers_KD, expected_KD.numpy(), atol=1e-4)


def test_its_seeding_is_nearly_as_good():
    x_ND, _ = blobs(n=3000, centers=60, spread=1.0)
    points = torch.from_numpy(x_ND).float()
    ours = [sharded_kmeans(held_by(x_ND, 2), 40, seed=seed).inertia for seed in range(3)]
    theirs = [kmeans(points, 40, seed=seed).inertia for seed in range(3)]
    assert np.mean(ours) < 1.05 * np.mean(theirs)


def test_labels_centers_and_inertia_are_consistent():
    x_ND, _ = blobs(spread=3.0)
    clusters = sharded_kmeans(held_by(x_ND, 3), 25, seed=3)
    distances_NK = np.linalg.norm(x_ND.astype(np.float64)[:, None] - clusters.centers_KD, axis=2)
    np.testing.assert_array_equal(distances_NK.argmin(1), clusters.labels_N)
    assert clusters.inertia == pytest.approx((distances_NK.min(1) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_clusters_never_outnumber_distinct_points(k):
    x_ND = np.tile(np.random.default_rng(0).normal(size=(4, 3)), (5, 1)).astype(np.float16)
    clusters = sharded_kmeans(held_by(x_ND, 2), k, seed=0)
    assert len(clusters.centers_KD) == min(k, 4) == k - clusters.n_empty
    if k >= 4:
        assert clusters.inertia < 1e-4


def test_rows_that_are_not_finite_belong_to_no_cluster():
    x_ND, _ = blobs()
    broken_ND = np.insert(x_ND, [0, 100, 400], np.nan, axis=0)
    clusters = sharded_kmeans(held_by(broken_ND, 2), 6, seed=0)
    rows = np.flatnonzero(clusters.labels_N == -1)
    np.testing.assert_array_equal(rows, [0, 101, 402])
    assert np.isfinite(clusters.centers_KD).all()


def test_no_points_and_zero_clusters_are_errors():
    with pytest.raises(DataError, match="all shards are empty"):
        sharded_kmeans(held_by(np.full((3, 2), np.nan, np.float16), 1, parts=1), 1, seed=0)
    with pytest.raises(ConfigError, match="got k = 0"):
        sharded_kmeans(held_by(np.ones((3, 2), np.float16), 1, parts=1), 0, seed=0)
