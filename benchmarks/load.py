"""Generate load for an HTTP endpoint: requests of many clients, and how long each one waits.

Requests are written and responses are read by hand, because an HTTP client library would use more
CPU than the endpoint.
"""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self
from urllib.parse import urlsplit

import numpy as np


@dataclass
class Load:
    """The outcome of the requests, in the order of their responses."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    """Seconds until the response, for responses with status 200."""
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    """The last response of each connection."""

    @property
    def per_s(self) -> float:
        """Responses with status 200 per second."""
        return len(self.waits_s) / self.seconds

    def wait_ms(self, percent: float) -> float:
        """Return a percentile of the waits."""
        return float(np.percentile(self.waits_s, percent)) * 1000


class Connection:
    """A keep-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def open(self) -> Self:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def ask(self, request: bytes, load: Load) -> bytes:
        """Send a request, read its response, and record both."""
        began = time.perf_counter()
        status, body = await self.exchange(request)
        load.statuses[status] += 1
        if status == 200:
            load.waits_s.append(time.perf_counter() - began)
        return body

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; returns the status and the body of the response."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return int(head[9:12]), await self.reader.readexactly(size)


def closed_loop(url: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let clients send the next request as soon as they have a response."""

    async def run_clients(load: Load) -> None:
        place, numbers = urlsplit(url), count()
        end = time.perf_counter() + seconds

        async def client() -> None:
            connection = await Connection(str(place.hostname), place.port or 80).open()
            while time.perf_counter() < end:
                request = _request(url, bodies[next(numbers) % len(bodies)])
                body = await connection.ask(request, load)
            load.bodies.append(body)
            connection.writer.close()

        await asyncio.gather(*(client() for _ in range(clients)))

    return _measured(run_clients)


def open_loop(url: str, bodies: Sequence[bytes], per_s: float, seconds: float) -> Load:
    """Send requests at a fixed rate, whether or not earlier ones have a response."""

    async def pace(load: Load) -> None:
        place = urlsplit(url)
        free: list[Connection] = []

        async def one(request: bytes) -> None:
            host, port = str(place.hostname), place.port or 80
            connection = free.pop() if free else await Connection(host, port).open()
            await connection.ask(request, load)
            free.append(connection)

        began, asked = time.perf_counter(), []
        for i in range(int(per_s * seconds)):
            await asyncio.sleep(began + i / per_s - time.perf_counter())
            asked.append(asyncio.create_task(one(_request(url, bodies[i % len(bodies)]))))
        await asyncio.gather(*asked)
        for connection in free:
            connection.writer.close()

    return _measured(pace)


def _measured(work: Callable[[Load], Awaitable[None]]) -> Load:
    load = Load()
    began, cpu_s = time.perf_counter(), _cpu_s()
    asyncio.run(_awaited(work, load))
    load.seconds, load.cpu_s = time.perf_counter() - began, _cpu_s() - cpu_s
    return load


async def _awaited(work: Callable[[Load], Awaitable[None]], load: Load) -> None:
    await work(load)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _request(url: str, body: bytes) -> bytes:
    place = urlsplit(url)
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
