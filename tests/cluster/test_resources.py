import pytest

from tests.cluster.test_stream import Doubler
from umc_ray.cluster import resources
from umc_ray.cluster.resources import available_slots, check_resources
from umc_ray.cluster.stream import Compute, stream
from umc_ray.errors import ConfigError
from umc_ray.storage import Storage


@pytest.fixture
def cluster(monkeypatch):
    """Return a function that fakes a cluster of nodes, each given as (CPUs, GPUs)."""

    def make(*sizes, labels=None):
        nodes = [
            {"Resources": {"CPU": cpu, "GPU": gpu} if gpu else {"CPU": cpu}, "Labels": labels or {}}
            for cpu, gpu in sizes
        ]
        monkeypatch.setattr(resources, "_nodes", lambda: nodes)

    return make


@pytest.mark.parametrize(
    ("num_gpus", "slots"),
    [
        (0, 13),  # one per CPU
        (1, 5),
        (0.5, 10),
        (0.4, 10),  # two on each GPU: the remaining fifths are on different GPUs
        (0.6, 5),
        (2, 2),  # the third GPU of the first node is left over: a process never spans nodes
        (4, 0),
    ],
)
def test_slots_are_counted_per_gpu_and_per_node(cluster, num_gpus, slots):
    cluster((8, 3), (4, 2), (1, 0))
    assert available_slots(num_gpus) == slots
    check_resources(slots, num_gpus)
    with pytest.raises(ConfigError):
        check_resources(slots + 1, num_gpus)


def test_the_error_shows_what_was_needed_and_what_is_there(cluster):
    cluster((8, 1), (4, 0), (4, 0))
    with pytest.raises(ConfigError) as raised:
        check_resources(3, 0.5)
    assert str(raised.value) == (
        "3 x 0.5 GPUs (workers x num_gpus of the encoders) do not fit: the cluster has 2 available "
        "slots on 3 nodes (1 of 8 CPUs and 1 GPUs, 2 of 4 CPUs and 0 GPUs); use fewer workers or "
        "add nodes"
    )
    with pytest.raises(ConfigError, match=r"17 x 1 CPU .* has 16 available slots "):
        check_resources(17, 0)


def test_only_nodes_with_the_labels_have_slots(monkeypatch):
    sizes = [(8, {"umc": "scoring", "zone": "a"}), (4, {"umc": "training"}), (2, {})]
    nodes = [{"Resources": {"CPU": cpu}, "Labels": labels} for cpu, labels in sizes]
    monkeypatch.setattr(resources, "_nodes", lambda: nodes)
    assert available_slots(0) == 14
    assert available_slots(0, {"umc": "scoring"}) == 8
    assert available_slots(0, {"umc": "scoring", "zone": "b"}) == 0
    with pytest.raises(
        ConfigError, match=r"4 .* slots on 1 nodes with labels {'umc': 'training'} "
    ):
        check_resources(5, 0, {"umc": "training"})


def test_a_pass_waits_for_a_cluster_that_may_grow(cluster):
    cluster((1, 0), labels={"ray.io/node-group": "head"})
    check_resources(8, 1)


@pytest.mark.ray
def test_a_pass_that_does_not_fit_is_refused_at_once(ray_cluster, tmp_path):
    worker, items = Doubler(Storage(str(tmp_path))), list(range(3))
    with pytest.raises(
        ConfigError, match=r"3 x 1 CPU .* has 2 available slots on 1 nodes \(1 of 2 "
    ):
        stream(worker, items, Compute(actors=8))
    with pytest.raises(ConfigError, match=r"1 x 1 GPUs .* has 0 available slots "):
        stream(worker, items, Compute(num_gpus=1))
    assert [each.rows for each in stream(worker, items, Compute(actors=2))] == items
