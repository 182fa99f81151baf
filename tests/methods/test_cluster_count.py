import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from umc_ray.methods.cluster_count import cluster_count, prediction_strength

pytestmark = pytest.mark.usefixtures("one_thread")


def points(centers, n=300):
    x_ND, _ = make_blobs(n, 6, centers=centers, cluster_std=0.5, random_state=1)
    return torch.tensor(x_ND, dtype=torch.float32)


@pytest.mark.parametrize("centers", [2, 3, 5])
def test_separate_blobs_are_counted(centers):
    count, strengths = cluster_count(points(centers), 7, seed=0)
    assert count == centers
    assert strengths[centers] == 1.0
    assert max(strengths[k] for k in range(centers + 1, 8)) < 0.8


def test_one_blob_is_one_cluster():
    assert cluster_count(points(1), 5, seed=0)[0] == 1


def test_few_points_are_one_cluster():
    assert cluster_count(torch.arange(7.0)[:, None], 5, seed=0) == (1, {})


def test_the_strength_is_the_share_of_pairs_kept_together_in_the_worst_cluster():
    train_ND = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    # Its own clusters are {0, 1} and {5, 9, 10}; the training clusters separate 5 from 9 and 10.
    test_ND = torch.tensor([[0.0], [1.0], [5.0], [9.0], [10.0]])
    assert prediction_strength(train_ND, test_ND, 2, seed=0) == pytest.approx(1 / 3)


def test_the_same_seed_gives_the_same_result():
    noise_ND = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 4))).float()
    assert cluster_count(noise_ND, 4, seed=3) == cluster_count(noise_ND, 4, seed=3)
