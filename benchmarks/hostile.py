"""Does the endpoint go on for others while some attack it, and when a replica is killed?

    python -m benchmarks.hostile [--quick] [--check] [--repeats 3]

`umc serve --replicas 2` with MiniLM and five linear specialists, on two CPUs, which the clients
share. Others ask for the score of a text at a fixed pace: alone, beside a client that sends the
1,500 requests of `hostile_requests.py` as fast as it can, beside 200 connections that send a byte
per second, and while one of the two replicas is killed.
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, cycle, pairwise
from pathlib import Path
from typing import Any

import psutil
from ray import serve

from benchmarks.annotator import free_port
from benchmarks.attackers import attack, crawl
from benchmarks.cost import PlainProcess
from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.load import Load, open_loop
from benchmarks.serving import CLASSES, CPUS, read_texts, request_bodies, write_campaign
from umc_ray.client import Client, EndpointError
from umc_ray.serving.deployment import start
from umc_ray.serving.messages import Sample
from umc_ray.serving.settings import ServingConfig

PACE = 15.0
"""Requests of others per second: a quarter of what the machine can do."""

SLOW_CONNECTIONS = 200
LABELS = tuple(f"label{i}" for i in range(CLASSES))
CLIENTS = 4
"""Of the package, which ask for one text after the other while a replica is killed."""
SETTLE_S = 10.0
"""For a new replica to load its models."""
UNITS = {"p99": "ms", "ratio": "of alone", "mb": "MB more", "s": "s"}
PROCESSES = ("ray::ProxyActor", "ray::ServeReplica")


@dataclass(frozen=True)
class Endpoint:
    """What is attacked, and a process of the others."""

    address: tuple[str, int]
    others: PlainProcess
    bodies: Sequence[bytes]
    seconds: float

    @property
    def url(self) -> str:
        """Where texts are scored."""
        return f"http://{self.address[0]}:{self.address[1]}/v1/score"

    def ask(self) -> "Future[Load]":
        """Have others ask for a time."""
        arguments = (self.url, self.bodies, PACE, self.seconds)
        return self.others.pool.submit(open_loop, *arguments)


def run(options: Options) -> Report:
    """Measure others alone and beside attacks in turns, then kill a replica."""
    figures: dict[str, list[float]] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        path, texts = write_campaign(Path(folder)), read_texts()
        with local_ray(CPUS), PlainProcess() as others, PlainProcess() as enemy:
            address = ("127.0.0.1", free_port())
            start([ServingConfig(campaign=path, replicas=2)], *address)
            endpoint = Endpoint(
                address, others, request_bodies(texts, 1), 10 if options.quick else 40
            )
            endpoint.ask().result()  # warm
            for _ in range(options.repeats):
                for name, value in _turn(endpoint, enemy, failures).items():
                    figures.setdefault(name, []).append(value)
            killed = [_killed(endpoint, texts, failures) for _ in range(options.repeats)]
            serve.shutdown()  # type: ignore[no-untyped-call]
    for name in killed[0]:
        figures[name] = [each[name] for each in killed]
    return Report(
        workload={
            "encoder": "all-MiniLM-L6-v2",
            "replicas": 2,
            "CPUs": CPUS,
            "requests of others per second": PACE,
            "seconds per load": endpoint.seconds,
        },
        figures={
            name: Figure(UNITS.get(name.rpartition("_")[2], "times"), values)
            for name, values in figures.items()
        },
        failures=failures,
    )


def _turn(endpoint: Endpoint, enemy: PlainProcess, failures: list[str]) -> dict[str, float]:
    """Measure others alone, beside hostile requests, and beside slow connections."""
    before = endpoint.ask().result()
    hostile = enemy.pool.submit(attack, endpoint.address, LABELS, endpoint.seconds)
    attacked, attacked_mb = _beside(hostile, endpoint)
    after = endpoint.ask().result()
    slow = enemy.pool.submit(crawl, endpoint.address, SLOW_CONNECTIONS, endpoint.seconds)
    slowed, slowed_mb = _beside(slow, endpoint)
    for load in (before, attacked, after, slowed):
        if wrong := {status: n for status, n in load.statuses.items() if status != 200}:
            failures.append(f"responses to others by status: {wrong}")
    statuses = hostile.result()
    p99 = Load(waits_s=before.waits_s + after.waits_s).wait_ms(99)
    return {
        "alone_p99": p99,
        "attacked_p99": attacked.wait_ms(99),
        "slow_p99": slowed.wait_ms(99),
        "attacked_p99_ratio": attacked.wait_ms(99) / p99,
        "slow_p99_ratio": slowed.wait_ms(99) / p99,
        "attacks": float(statuses.total()),
        "attacks_with_5xx": float(sum(n for status, n in statuses.items() if status >= 500)),
        "attacked_mb": attacked_mb,
        "slow_mb": slowed_mb,
        "slow_opened": float(slow.result()["opened"]),
    }


def _beside(enemy: "Future[Any]", endpoint: Endpoint) -> tuple[Load, float]:
    """Have others ask while an attack goes on; returns their load, and the growth in MB."""
    before = peak = _memory_mb()
    others = endpoint.ask()
    while not (others.done() and enemy.done()):
        peak = max(peak, _memory_mb())
        time.sleep(0.1)
    return others.result(), peak - before


def _killed(endpoint: Endpoint, texts: list[str], failures: list[str]) -> dict[str, float]:
    """Kill a replica while others and clients of the package ask."""
    url, end = endpoint.url.removesuffix("/v1/score"), time.time() + endpoint.seconds
    others = endpoint.ask()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_scored, url, texts, end) for _ in range(CLIENTS)]
        time.sleep(endpoint.seconds / 4)
        victim = _processes(["ray::ServeReplica"])[0]
        victim.kill()
        results = [each.result() for each in clients]
    statuses, answered = others.result().statuses, sorted(chain(*(each[1] for each in results)))
    if wrong := {status: n for status, n in statuses.items() if status not in (200, 503)}:
        failures.append(f"others, while a replica was killed: responses by status: {wrong}")
    _wait_for_replicas(2)
    return {
        "killed_5xx": float(sum(n for status, n in statuses.items() if status in (500, 502, 504))),
        "killed_503": float(statuses[503]),
        "killed_lost": float(sum(each[0] - len(each[1]) for each in results)),
        "killed_gap_s": max(late - early for early, late in pairwise(answered)),
    }


def _scored(url: str, texts: list[str], end: float) -> tuple[int, list[float]]:
    """Score one text after the other; returns how many were asked, and when each was answered."""
    asked, answered = 0, []
    with Client(url, batch=1) as client:
        for text in cycle(texts):
            if time.time() > end:
                break
            asked += 1
            with suppress(EndpointError):
                answered += [time.time() for each in client.score([Sample(text=text)])]
    return asked, answered


def _wait_for_replicas(count: int) -> None:
    while len(_processes(["ray::ServeReplica"])) < count:
        time.sleep(0.5)
    time.sleep(SETTLE_S)


def _processes(names: Sequence[str]) -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [each for each in children if _name(each).startswith(tuple(names))]


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


def _memory_mb() -> float:
    total = 0
    for process in _processes(PROCESSES):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1e6


if __name__ == "__main__":
    main("hostile", __doc__, run, repeats=3)
