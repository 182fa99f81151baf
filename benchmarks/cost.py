"""What work costs: elapsed time, and processor time and memory of all processes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Self

import psutil

LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Cost:
    """What a piece of work took: elapsed time, and processor time of all processes."""

    wall_s: float
    cpu_s: float


def cost_of(work: Callable[..., object], *args: object) -> Cost:
    """Run work in this process and the processes below it, such as Ray's, and measure them all."""
    with Meter() as meter:
        began = time.perf_counter()
        work(*args)
        return Cost(time.perf_counter() - began, meter.seconds())


class Meter:
    """Counts the processor time of this process and all below it, also of those that end.

    A raylet keeps no account of the workers that it ends, so all are looked at again and again:
    what is lost is what a process does after the last look at it. Looking is not counted.
    """

    def __enter__(self) -> Self:
        """Begin to count."""
        self._spent: dict[psutil.Process, float] = {}
        self._looking = 0.0
        self._lock, self._done = threading.Lock(), threading.Event()
        self._look()
        self._before = sum(self._spent.values())
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()

    def seconds(self) -> float:
        """Return the processor time since the beginning."""
        self._look()
        return sum(self._spent.values()) - self._before - self._looking

    def _watch(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            began = time.thread_time()
            self._spent |= _processor_times()
            self._looking += time.thread_time() - began


def cpu_seconds() -> float:
    """Return the processor time so far of this process and all below it that are there now."""
    return sum(_processor_times().values())


def _processor_times() -> dict[psutil.Process, float]:
    times = {}
    for process in _family():
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            times[process] = spent.user + spent.system
    return times


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


class PlainProcess:
    """A process without Ray, for the plain code: it stays warm, as Ray's workers do."""

    def __enter__(self) -> Self:
        """Start it."""
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.pool.shutdown()

    def cost_of(self, work: Callable[..., object], *args: object) -> Cost:
        """Run work there and measure that process."""
        return self.pool.submit(cost_of, work, *args).result()


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Watch the memory of this process and all below it; the list ends up with the peak, in MB."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_EVERY_S):
            peak[0] = max(peak[0], memory_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def memory_mb() -> float:
    """Return the proportional set size of this process and all below it.

    Pages that processes share count once.
    """
    total = 0
    for process in _family():
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6
