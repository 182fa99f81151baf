"""Measure the cost of work: elapsed time, and CPU time and memory of all processes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Self

import psutil

POLL_INTERVAL_S = 0.1

RAY_DATA_WORKER = "ray::Map"
"""How the names of the processes begin that do the work of a pass."""


@dataclass(frozen=True)
class Cost:
    """The cost of a piece of work: elapsed time, and CPU time of all processes."""

    wall_s: float
    cpu_s: float
    workers_cpu_s: float = 0.0
    """The part of it that Ray Data's workers took."""


def cost_of(work: Callable[..., object], *args: object) -> Cost:
    """Run work and return its cost, including child processes such as Ray's."""
    with Meter() as meter:
        began = time.perf_counter()
        work(*args)
        wall_s = time.perf_counter() - began
        return Cost(wall_s, meter.seconds(), meter.seconds_of(RAY_DATA_WORKER))


class Meter:
    """Measures the CPU time of this process and its descendants, including those that end.

    A raylet does not record the CPU time of the workers that it ends, so all processes are polled.
    The time between the last poll and the end of a process is lost. Polling itself is not counted.
    """

    def __enter__(self) -> Self:
        """Start measuring."""
        self._spent: dict[psutil.Process, float] = {}
        self._names: dict[psutil.Process, str] = {}
        self._polling_s = 0.0
        self._lock, self._done = threading.Lock(), threading.Event()
        self._poll()
        self._before = dict(self._spent)
        self._thread = threading.Thread(target=self._poll_until_done)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop measuring."""
        self._done.set()
        self._thread.join()

    def seconds(self) -> float:
        """Return the CPU time since the start."""
        self._poll()
        return self.seconds_of("") - self._polling_s

    def seconds_of(self, name: str) -> float:
        """Return the CPU time up to the last poll of the processes whose names begin like this."""
        with self._lock:
            return sum(
                spent - self._before.get(process, 0.0)
                for process, spent in self._spent.items()
                if self._names[process].startswith(name)
            )

    def _poll_until_done(self) -> None:
        while not self._done.wait(POLL_INTERVAL_S):
            self._poll()

    def _poll(self) -> None:
        with self._lock:
            began = time.thread_time()
            for process, spent in _processor_times().items():
                with suppress(psutil.NoSuchProcess):
                    self._names[process] = process.name()
                    self._spent[process] = spent
            self._polling_s += time.thread_time() - began


def cpu_seconds() -> float:
    """Return the CPU time so far of this process and its running descendants."""
    return sum(_processor_times().values())


def _processor_times() -> dict[psutil.Process, float]:
    times = {}
    for process in _process_tree():
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            times[process] = spent.user + spent.system
    return times


def _process_tree() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


class PlainProcess:
    """A process without Ray for the plain code; it stays warm like Ray's workers."""

    def __enter__(self) -> Self:
        """Start it."""
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.pool.shutdown()

    def cost_of(self, work: Callable[..., object], *args: object) -> Cost:
        """Run work in the process and return its cost."""
        return self.pool.submit(cost_of, work, *args).result()


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Track the memory of this process and its descendants; yields a list with the peak in MB."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(POLL_INTERVAL_S):
            peak[0] = max(peak[0], memory_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def memory_mb() -> float:
    """Return the proportional set size of this process and its descendants."""
    total = 0
    for process in _process_tree():
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6
