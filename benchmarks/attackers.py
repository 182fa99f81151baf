"""Clients that want to stop an endpoint: hostile requests one after the other, and slow ones."""

import asyncio
import socket
import time
from collections import Counter
from contextlib import suppress
from itertools import cycle

from benchmarks.hostile_requests import attacks, request

LARGE_BYTES = 14_000_000
ZEROS = b'{"samples": [' + b"0," * (LARGE_BYTES // 2) + b"0]}"
SLOW_HEAD = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_BODY = request(body=b"", size=b"100000")
EVERY_S = 1.0


def attack(address: tuple[str, int], labels: tuple[str, ...], seconds: float) -> Counter[int]:
    """Send all hostile requests in turns, at least once; returns how often each status came.

    Status 0 stands for a connection that the server closed without an answer.
    """
    found: Counter[int] = Counter()
    all_of_them = [
        *((each.data, each.fate == "cut") for each in attacks(2_000_000, labels)),
        (request(body=ZEROS), False),
    ]
    end = time.perf_counter() + seconds
    for number, (data, ends) in enumerate(cycle(all_of_them)):
        if number >= len(all_of_them) and time.perf_counter() > end:
            break
        found[_status(address, data, ends)] += 1
    return found


def _status(address: tuple[str, int], data: bytes, ends: bool) -> int:
    """Return the status of the answer to a request; 0 if there is none."""
    got = b""
    with socket.create_connection(address, timeout=60) as connection, suppress(OSError):
        connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        while len(got) < 12 and (part := connection.recv(4096)):
            got += part
    return int(got[9:12]) if got.startswith(b"HTTP/1.1 ") else 0


def crawl(address: tuple[str, int], connections: int, seconds: float) -> Counter[str]:
    """Keep connections that send a byte per second, half of them in heads and half in bodies.

    A new one takes the place of each that the server closes. Returns how many were opened and
    closed.
    """
    return asyncio.run(_crawl(address, connections, seconds))


async def _crawl(address: tuple[str, int], connections: int, seconds: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    end = time.perf_counter() + seconds

    async def one(start: bytes) -> None:
        while time.perf_counter() < end:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*address)
                counts["opened"] += 1
                writer.write(start)
                while time.perf_counter() < end and not reader.at_eof():
                    writer.write(b"x")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(4096), EVERY_S)
                counts["closed by the server"] += reader.at_eof()
                writer.close()

    starts = (SLOW_HEAD, SLOW_BODY)
    await asyncio.gather(*(one(starts[i % 2]) for i in range(connections)))
    return counts
