"""How many processes of a pass fit on the cluster; a pass that can never fit is refused."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ray

from umc_ray.errors import ConfigError

Labels = Mapping[str, str]
"""The labels that a node must have to take part."""

ANY_NODE: Labels = MappingProxyType({})

NODE_GROUP = "ray.io/node-group"
"""The label of nodes that `ray up` or KubeRay started; their autoscaler may add more."""


def cpus_per_process(num_gpus: float) -> int:
    """Return the CPUs that a process reserves: none on a GPU, whose share is the limit."""
    return 0 if num_gpus else 1


def available_slots(num_gpus: float, labels: Labels = ANY_NODE) -> int:
    """Return how many processes fit if each needs `num_gpus` GPUs, or one CPU if that is 0."""
    return sum(_slots_of(node["Resources"], num_gpus) for node in _labeled(_nodes(), labels))


def cpus_of_largest_node(labels: Labels = ANY_NODE) -> int:
    """Return the most CPUs that one process can use; at least 1."""
    nodes = _labeled(_nodes(), labels)
    return max((int(node["Resources"].get("CPU", 0)) for node in nodes), default=1) or 1


def _slots_of(resources: dict[str, float], num_gpus: float) -> int:
    """Count the slots of one node; a process uses a share of one GPU, or several whole GPUs."""
    if not num_gpus:
        return int(resources.get("CPU", 0))
    gpus = int(resources.get("GPU", 0))
    return gpus * int(1 / num_gpus) if num_gpus < 1 else int(gpus / num_gpus)


def check_resources(
    processes: int,
    num_gpus: float,
    labels: Labels = ANY_NODE,
    asked_by: str = "workers x num_gpus of the encoders",
) -> None:
    """Refuse a pass that would wait forever for CPUs or GPUs that the cluster does not have.

    A cluster with node groups may grow, so nothing is refused there: the wait has a timeout.

    Raises:
        ConfigError: the processes do not fit; the message lists what is there.
    """
    nodes, slots = _nodes(), available_slots(num_gpus, labels)
    if processes <= slots or any(NODE_GROUP in node["Labels"] for node in nodes):
        return
    need = f"{num_gpus:g} GPUs" if num_gpus else f"{cpus_per_process(num_gpus)} CPU"
    where = f" with labels {dict(labels)}" if labels else ""
    nodes = _labeled(nodes, labels)
    raise ConfigError(
        f"{processes} x {need} ({asked_by}) do not fit: the cluster has "
        f"{slots} available slots on {len(nodes)} nodes{where} ({_describe(nodes)}); use fewer "
        "workers or add nodes"
    )


def _describe(nodes: list[dict[str, Any]]) -> str:
    """Return the sizes of nodes, such as "1 of 8 CPUs and 1 GPUs"."""
    sizes = Counter(
        f"{node['Resources'].get('CPU', 0):g} CPUs and {node['Resources'].get('GPU', 0):g} GPUs"
        for node in nodes
    )
    return ", ".join(f"{count} of {size}" for size, count in sizes.items()) or "none"


def _labeled(nodes: list[dict[str, Any]], labels: Labels) -> list[dict[str, Any]]:
    return [node for node in nodes if labels.items() <= node["Labels"].items()]


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]
