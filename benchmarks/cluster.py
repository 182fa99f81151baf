"""A cluster of several nodes on this machine, whose processes and nodes can be killed."""

import os
import tempfile
from contextlib import ExitStack
from typing import Any, Self
from unittest.mock import patch

import psutil
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
NOTICE = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A node that is gone is noticed after 2 s; by default it takes Ray 15 s."""

PASS = ("ray::MapBatches(_Step)", "ray::MapWorker(")
"""How processes call themselves that do the work of a pass, as tasks and as actors."""


class LocalCluster:
    """A head without CPUs and worker nodes with one CPU each, each a Ray of its own."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __enter__(self) -> Self:
        """Start it."""
        with ExitStack() as stack:
            # Ray's sockets need a short path; here it also notes which cluster is the latest.
            folder = tempfile.TemporaryDirectory(
                prefix="uc", dir="/tmp", ignore_cleanup_errors=True
            )
            environment = patch.dict(os.environ, RAY_TMPDIR=stack.enter_context(folder))
            stack.enter_context(environment)
            head = {**NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": NOTICE}
            self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)
            stack.callback(self._end)
            self.grow()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """End all its processes."""
        self._stack.close()

    def _end(self) -> None:
        for node in reversed(self.cluster.list_all_nodes()):  # the head is the first
            self.cluster.remove_node(node, allow_graceful=False)

    @property
    def address(self) -> str:
        """What drivers set RAY_ADDRESS to."""
        return str(self.cluster.address)

    def grow(self) -> None:
        """Start the worker nodes that are missing."""
        while len(self.cluster.worker_nodes) < self.workers:
            self.cluster.add_node(**NODE)

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return its processes whose titles begin with one of the names."""
        found = [
            process
            for raylet in self._raylets()
            for process in psutil.Process(raylet).children(recursive=True)
        ]
        return [process for process in found if _title(process).startswith(names)]

    def _raylets(self) -> dict[int, Any]:
        """Return the nodes by the id of the process that all others of a node descend from."""
        nodes = self.cluster.list_all_nodes()
        return {node.all_processes["raylet"][0].process.pid: node for node in nodes}

    def kill_process(self) -> None:
        """Kill a process that works for a pass."""
        self.processes(*PASS)[0].kill()

    def kill_node(self) -> None:
        """Kill a node that works for a pass, with all that runs on it."""
        node = self._raylets()[self.processes(*PASS)[0].ppid()]
        self.cluster.remove_node(node, allow_graceful=False)

    def kill_allocator(self) -> psutil.Process:
        """Kill a campaign's allocator; returns the process that it was."""
        (allocator,) = self.processes("ray::BudgetAllocator")
        allocator.kill()
        psutil.wait_procs([allocator])
        return allocator


def _title(process: psutil.Process) -> str:
    """Return what a process calls itself; nothing once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
