"""A cluster of several nodes on this machine, whose processes and nodes can be killed.

Ray's own command starts the nodes: a process that is itself a client of a cluster is ended by Ray
a minute after its cluster, and these clusters are there to be ended.
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
NOTICE = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A node that is gone is noticed after 2 s; by default it takes Ray 15 s."""

PASS = ("ray::MapBatches(_ItemRunner)", "ray::MapWorker(")
"""How processes call themselves that do the work of a pass, as tasks and as actors."""


class LocalCluster:
    """A head without CPUs and worker nodes with one CPU each, each a Ray of its own.

    Workers have labels: `umc` is worker-0, worker-1 and so on. `head` are further options of
    `ray start` for the head.
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
            notice = f"--system-config={json.dumps(NOTICE)}"
            self._head = self._start("--head", "--port=0", "--num-cpus=0", notice, *self.head)
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
        """What drivers find the cluster by."""
        address = (self._folder / "ray/ray_current_cluster").read_text().strip()
        return {"RAY_ADDRESS": address, **self._token}

    def grow(self) -> None:
        """Start the worker nodes that are missing."""
        for name in self.names:
            if name not in self._nodes:
                address = self.environment["RAY_ADDRESS"]
                options = f"--address={address}", "--num-cpus=1", f"--labels=umc={name}"
                self._nodes[name] = self._start(*options)

    def _start(self, *options: str) -> subprocess.Popen[str]:
        """Start a node, and return when it has joined."""
        node = subprocess.Popen(
            [BIN / "ray", "start", "--block", f"--object-store-memory={MEMORY}", *options],
            env={
                **os.environ,
                **self._token,
                "RAY_TMPDIR": str(self._folder),
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # where jobs look for python
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert node.stdout
        said = []
        for line in node.stdout:
            said.append(line)
            if STARTED in line:
                return node
        _kill(node)
        raise RuntimeError("a node did not start:\n" + "".join(said))

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return its processes whose titles begin with one of the names."""
        nodes = [self._head, *self._nodes.values()]
        found = [process for node in nodes for process in _descendants(node)]
        return [process for process in found if _title(process).startswith(names)]

    def kill_process(self) -> None:
        """Kill a process that works for a pass."""
        self.processes(*PASS)[0].kill()

    def kill_node(self) -> None:
        """Kill a node that works for a pass, with all that runs on it."""
        busy = self.processes(*PASS)[0]
        name = next(name for name, node in self._nodes.items() if busy in _descendants(node))
        _kill(self._nodes.pop(name))

    def kill_allocator(self) -> psutil.Process:
        """Kill a campaign's allocator; returns the process that it was."""
        (allocator,) = self.processes("ray::BudgetAllocator")
        allocator.kill()
        psutil.wait_procs([allocator])
        return allocator


def _descendants(node: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(node.pid).children(recursive=True)


def _kill(node: subprocess.Popen[str]) -> None:
    """Kill a node, with all that runs on it."""
    for process in _descendants(node):
        with suppress(psutil.NoSuchProcess):  # its parent took it along
            process.kill()
    node.kill()
    node.communicate()


def _title(process: psutil.Process) -> str:
    """Return what a process calls itself; nothing once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
