import numpy as np
import pytest

from tests.pools import FEATURES, write_part
from umc_ray.errors import ConfigError
from umc_ray.passes.cluster import cluster_features
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def write_groups(storage, sizes):
    """Write parts of samples around three directions; one sample has no embedding."""
    rng = np.random.default_rng(0)
    truth, parts = [], []
    for number, size in enumerate(sizes):
        groups = rng.integers(3, size=size)
        x_ND = np.eye(4)[groups] + rng.normal(scale=0.05, size=(size, 4))
        ids = list(range(1000 * number, 1000 * number + size))
        parts.append(write_part(storage, ids, x_ND, f"part-{number:05d}"))
        truth += groups.tolist()
    return parts, np.array(truth)


def test_one_actor_and_two_find_the_same_groups_to_the_last_bit(storage, ray_cluster):
    parts, truth_N = write_groups(storage, [30, 20, 25])
    one, two = (cluster_features(storage, FEATURES, parts, 3, seed=0, shards=n) for n in (1, 2))
    assert len(set(zip(one.labels_N.tolist(), truth_N.tolist(), strict=True))) == 3
    np.testing.assert_array_equal(one.labels_N, two.labels_N)
    np.testing.assert_array_equal(one.centers_KD, two.centers_KD)
    assert one.inertia == two.inertia


def test_more_actors_than_there_are_cpus_are_refused(storage, ray_cluster):
    parts, _ = write_groups(storage, [3] * 3)
    with pytest.raises(ConfigError, match=r"3 x 1 CPU .* has 2 available slots"):
        cluster_features(storage, FEATURES, parts, 3, seed=0, shards=3)
