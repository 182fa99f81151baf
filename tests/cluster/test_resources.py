import pytest

from tests.cluster.test_stream import Doubler
from umc_ray.cluster import resources as capacity
from umc_ray.cluster.resources import check_resources, room
from umc_ray.cluster.stream import Compute, stream
from umc_ray.errors import ConfigError
from umc_ray.storage import Storage


@pytest.fixture
def cluster(monkeypatch):
    """Make a cluster of nodes, each a tuple of CPUs and GPUs."""

    def make(*sizes, labels=None):
        nodes = [
            {"Resources": {"CPU": cpu, "GPU": gpu} if gpu else {"CPU": cpu}, "Labels": labels or {}}
            for cpu, gpu in sizes
        ]
        monkeypatch.setattr(capacity, "_nodes", lambda: nodes)

    return make


@pytest.mark.parametrize(
    ("num_gpus", "fit"),
    [
        (0, 13),  # one per CPU
        (1, 5),
        (0.5, 10),
        (0.4, 10),  # two on each GPU: the fifths that remain are on different ones
        (0.6, 5),
        (2, 2),  # the third GPU of a node and the single one of another are not two
        (4, 0),
    ],
)
def test_what_fits_is_counted_gpu_by_gpu_and_node_by_node(cluster, num_gpus, fit):
    cluster((8, 3), (4, 2), (1, 0))
    assert room(num_gpus) == fit
    check_resources(fit, num_gpus)
    with pytest.raises(ConfigError):
        check_resources(fit + 1, num_gpus)


def test_a_refusal_shows_the_arithmetic(cluster):
    cluster((8, 1), (4, 0), (4, 0))
    with pytest.raises(ConfigError) as raised:
        check_resources(3, 0.5)
    assert str(raised.value) == (
        "3 x 0.5 GPUs asked for (workers x num_gpus of the encoders), the cluster has room for 2: "
        "3 nodes, 1 of 8 CPUs and 1 GPUs, 2 of 4 CPUs and 0 GPUs"
    )
    with pytest.raises(ConfigError, match=r"17 x 1 CPU asked for .* has room for 16: "):
        check_resources(17, 0)


def test_only_nodes_with_the_labels_have_room(monkeypatch):
    sizes = [(8, {"umc": "scoring", "zone": "a"}), (4, {"umc": "training"}), (2, {})]
    nodes = [{"Resources": {"CPU": cpu}, "Labels": labels} for cpu, labels in sizes]
    monkeypatch.setattr(capacity, "_nodes", lambda: nodes)
    assert room(0) == 14
    assert room(0, {"umc": "scoring"}) == 8
    assert room(0, {"umc": "scoring", "zone": "b"}) == 0
    with pytest.raises(ConfigError, match=r"room for 4: 1 nodes with labels {'umc': 'training'}, "):
        check_resources(5, 0, {"umc": "training"})


def test_a_cluster_that_may_grow_is_given_time(cluster):
    cluster((1, 0), labels={"ray.io/node-group": "head"})
    check_resources(8, 1)


@pytest.mark.ray
def test_a_pass_that_does_not_fit_is_refused_before_it_waits(ray_cluster, tmp_path):
    worker, items = Doubler(Storage(str(tmp_path))), list(range(3))
    with pytest.raises(ConfigError, match=r"3 x 1 CPU .* room for 2: 1 nodes, 1 of 2 CPUs"):
        stream(worker, items, Compute(actors=8))
    with pytest.raises(ConfigError, match=r"1 x 1 GPUs .* has room for 0: "):
        stream(worker, items, Compute(num_gpus=1))
    assert [each["rows"] for each in stream(worker, items, Compute(actors=2))] == items
