"""A cluster of several nodes on this machine, whose processes and nodes can be killed.

The nodes are started with Ray's CLI. A process that is itself a client of a cluster is killed by
Ray a minute after the cluster ends, and these clusters are made to be killed.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import psutil

BIN = Path(sys.executable).parent
STARTED = "This command will now block forever"
MEMORY = str(80 * 2**20)
HEALTH_CHECKS = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A dead node is detected after 2 s; Ray's default is 15 s."""

PASS = ("ray::MapBatches(_ItemRunner)", "ray::MapWorker(")
"""Title prefixes of the processes that work on a pass, as tasks and as actors."""


class LocalCluster:
    """A head without CPUs and worker nodes with one CPU each.

    Workers have the label `umc` with the value worker-0, worker-1, and so on. `head` contains
    extra options of `ray start` for the head.
    """

    def __init__(self, workers: int, head: Sequence[str] = ("--include-dashboard=false",)) -> None:
        self.head = head
        self.names = [f"worker-{i}" for i in range(workers)]
        self._nodes: dict[str, subprocess.Popen[str]] = {}  # of the workers
        self._token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}

    def __enter__(self) -> Self:
        """Start it."""
        with ExitStack() as stack:
            self._folder = Path(tempfile.mkdtemp(prefix="uc", dir="/tmp"))  # short, for sockets
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            checks = f"--system-config={json.dumps(HEALTH_CHECKS)}"
            self._head = self._start("--head", "--port=0", "--num-cpus=0", checks, *self.head)
            stack.callback(_kill, self._head)
            stack.callback(self._end)
            self.grow()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """End all its processes."""
        self._stack.close()

    def _end(self) -> None:
        for node in self._nodes.values():
            _kill(node)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which drivers connect to the cluster."""
        address = (self._folder / "ray/ray_current_cluster").read_text().strip()
        return {"RAY_ADDRESS": address, **self._token}

    def grow(self) -> None:
        """Start the missing worker nodes."""
        for name in self.names:
            if name not in self._nodes:
                address = self.environment["RAY_ADDRESS"]
                options = f"--address={address}", "--num-cpus=1", f"--labels=umc={name}"
                self._nodes[name] = self._start(*options)

    def _start(self, *options: str) -> subprocess.Popen[str]:
        """Start a node and wait until it has joined."""
        node = subprocess.Popen(
            [BIN / "ray", "start", "--block", f"--object-store-memory={MEMORY}", *options],
            env={
                **os.environ,
                **self._token,
                "RAY_TMPDIR": str(self._folder),
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # jobs look for python here
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert node.stdout
        output = []
        for line in node.stdout:
            output.append(line)
            if STARTED in line:
                return node
        _kill(node)
        raise RuntimeError("a node did not start:\n" + "".join(output))

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return the processes of the cluster whose titles start with one of the names."""
        nodes = [self._head, *self._nodes.values()]
        processes = [process for node in nodes for process in _descendants(node)]
        return [process for process in processes if _title(process).startswith(names)]

    def kill_process(self) -> None:
        """Kill a process that works on a pass."""
        self.processes(*PASS)[0].kill()

    def kill_node(self) -> None:
        """Kill a node that works on a pass, with all of its processes."""
        busy = self.processes(*PASS)[0]
        name = next(name for name, node in self._nodes.items() if busy in _descendants(node))
        _kill(self._nodes.pop(name))

    def kill_allocator(self) -> psutil.Process:
        """Kill the allocator of a campaign; returns its process."""
        (allocator,) = self.processes("ray::BudgetAllocator")
        allocator.kill()
        psutil.wait_procs([allocator])
        return allocator


def _descendants(node: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(node.pid).children(recursive=True)


def _kill(node: subprocess.Popen[str]) -> None:
    """Kill a node with all of its processes."""
    for process in _descendants(node):
        with suppress(psutil.NoSuchProcess):  # it ended with its parent
            process.kill()
    node.kill()
    node.communicate()


def _title(process: psutil.Process) -> str:
    """Return the title of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
