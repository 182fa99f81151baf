"""How many processes of a pass the cluster has room for, and the refusal of what never fits."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ray

from umc_ray.errors import ConfigError

Labels = Mapping[str, str]
"""What nodes must be labeled with to take part."""

ANY_NODE: Labels = MappingProxyType({})

NODE_GROUP = "ray.io/node-group"
"""The label of nodes that `ray up` or KubeRay started, which may start more."""


def cpus(num_gpus: float) -> int:
    """Return the CPUs that a process holds: on a GPU, its share of the GPU is what limits it."""
    return 0 if num_gpus else 1


def room(num_gpus: float, labels: Labels = ANY_NODE) -> int:
    """Return how many processes fit that hold so much of a GPU each, or else a CPU."""
    return sum(_room_of(node["Resources"], num_gpus) for node in _labeled(_nodes(), labels))


def _room_of(resources: dict[str, float], num_gpus: float) -> int:
    """A process holds shares of one GPU or whole ones of one node."""
    if not num_gpus:
        return int(resources.get("CPU", 0))
    cards = int(resources.get("GPU", 0))
    return cards * int(1 / num_gpus) if num_gpus < 1 else int(cards / num_gpus)


def check_resources(processes: int, num_gpus: float, labels: Labels = ANY_NODE) -> None:
    """Refuse what would wait forever for CPUs or GPUs that the cluster does not have.

    Nodes in a group belong to a cluster that may grow: there the wait has a timeout instead.

    Raises:
        ConfigError: with what was asked for and what is there.
    """
    nodes, found = _nodes(), room(num_gpus, labels)
    if processes <= found or any(NODE_GROUP in node["Labels"] for node in nodes):
        return
    each = f"{num_gpus:g} GPUs" if num_gpus else f"{cpus(num_gpus)} CPU"
    where = f" with labels {dict(labels)}" if labels else ""
    nodes = _labeled(nodes, labels)
    sizes = Counter(
        f"{node['Resources'].get('CPU', 0):g} CPUs and {node['Resources'].get('GPU', 0):g} GPUs"
        for node in nodes
    )
    there = ", ".join(f"{count} of {size}" for size, count in sizes.items())
    raise ConfigError(
        f"{processes} x {each} asked for (workers x num_gpus of the encoders), the cluster has "
        f"room for {found}: {len(nodes)} nodes{where}, {there or 'none'}"
    )


def _labeled(nodes: list[dict[str, Any]], labels: Labels) -> list[dict[str, Any]]:
    return [node for node in nodes if labels.items() <= node["Labels"].items()]


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]
