"""Do answers survive a crowd and a killed server, and how fast does the next item appear?

Fifty simulated annotators answer a batch through the API while the server is killed with SIGKILL
and restarted, on SQLite and on PostgreSQL. Then a browser labels images and texts by keyboard with
80 ms of latency added to every response of the server. In between, sixty logins at once keep the
server busy with passwords while one person works.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.annotator import Server, postgres, sqlite, write_campaign
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.load import Connection
from benchmarks.people import HOST, Person, hire, work_all
from benchmarks.typist import ADDED_MS, browse
from umc_ray.annotation.store import AnnotationStore

PEOPLE, VOTES, LEASE = 50, 3, 20
ITEMS, QUICK_ITEMS = 10_000, 300
KEYS, QUICK_KEYS = 60, 20
BATCH = 1000
LOGINS = 60


def run(options: Options) -> Report:
    """Measure the crowd on each installed database, then the browser."""
    items = QUICK_ITEMS if options.quick else ITEMS
    keys = QUICK_KEYS if options.quick else KEYS
    figures: dict[str, Figure] = {}
    failures: list[str] = []
    for name, database in (("sqlite", sqlite()), ("postgres", postgres())):
        with database as url:
            if url is None:
                failures.append(f"{name} is not installed")
            else:
                measured = crowd(url, items)
                figures |= {f"{name}_{each}": figure for each, figure in measured.items()}
    waits_ms = browse(keys)
    if waits_ms:
        figures |= percentiles("key", waits_ms)
    else:
        failures.append("Chromium is not installed")
    return Report(
        workload={
            "people": PEOPLE,
            "items": items,
            "votes": VOTES,
            "leased at a time": LEASE,
            "keys": keys,
            "added ms": ADDED_MS,
            "CPUs": os.cpu_count(),
        },
        figures=figures,
        failures=failures,
    )


def percentiles(name: str, waits_ms: Sequence[float]) -> dict[str, Figure]:
    """Return the median and the 95th percentile of some waits."""
    ranked = sorted(waits_ms)
    return {
        f"{name}_p50_ms": Figure("ms", [statistics.median(ranked)]),
        f"{name}_p95_ms": Figure("ms", [ranked[int(0.95 * (len(ranked) - 1))]]),
    }


def crowd(url: str, items: int) -> dict[str, Figure]:
    """Let a crowd answer all items while the server is killed once; check the stored answers."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        server = Server(write_campaign(Path(folder), url))
        with closing(AnnotationStore(url)) as store:
            people = hire(store, server.port, PEOPLE)
            server.start()
            try:
                seconds = asyncio.run(ask_and_answer(server, people, items))
                waits_s = asyncio.run(work_beside_logins(people[-1]))
            finally:
                server.kill()
            flood = {"beside_logins_ms": Figure("ms", [1000 * max(waits_s)])}
            return judge(store, people, seconds, items) | flood


async def ask_and_answer(server: Server, people: Sequence[Person], items: int) -> float:
    """Create questions and let all people answer them; kill the server after a third of the votes.

    Returns:
        The seconds of work, without the downtime of the server.
    """
    for start in range(0, items, BATCH):
        samples = [
            {"text": f"Text number {i}", "votes": VOTES, "priority": -i}
            for i in range(start, min(start + BATCH, items))
        ]
        body = {"task": "mood", "domain": "mail", "samples": samples}
        await people[0].ask("POST", "/api/batches/load", body)
    began = time.perf_counter()
    working = asyncio.create_task(work_all(people, "load", LEASE))
    third = items * VOTES // 3
    while not working.done() and sum(len(each.acknowledged) for each in people) < third:
        await asyncio.sleep(0.01)
    killed = time.perf_counter()
    await asyncio.to_thread(server.restart)
    down = time.perf_counter() - killed
    await working
    return time.perf_counter() - began - down


async def work_beside_logins(person: Person) -> list[float]:
    """Return how long a person waits for each request while all logins are checked."""
    logins = asyncio.gather(*(log_in(person.port, i) for i in range(LOGINS)))
    waits_s = list[float]()
    while not logins.done() or not waits_s:
        began = time.perf_counter()
        await person.ask("GET", "/api/questions?n=1")
        waits_s.append(time.perf_counter() - began)
        await asyncio.sleep(0)
    await person.leave()
    statuses = await logins
    assert set(statuses) == {401}, statuses
    return waits_s


async def log_in(port: int, client: int) -> int:
    """Try a wrong password, each time from another address; returns the status."""
    body = b"name=p0&password=a+wrong+password"
    head = (
        f"POST /login HTTP/1.1\r\nhost: {HOST}:{port}\r\nx-forwarded-for: 10.0.0.{client}\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection = await Connection(HOST, port).open()
    status, _ = await connection.exchange(head.encode() + body)
    connection.writer.close()
    return status


def judge(
    store: AnnotationStore, people: Sequence[Person], seconds: float, items: int
) -> dict[str, Figure]:
    """Compare the acknowledged answers with the stored ones."""
    acknowledged = {(each.name, sample) for each in people for sample in each.acknowledged}
    answers = store.answers("crowd/load")
    kept = {(answer.annotator, str(answer.sample_id)) for answer in answers}
    votes = Counter(answer.sample_id for answer in answers)
    waits_ms = [1000 * wait_s for each in people for wait_s in each.waits_s]
    return {
        "submits_per_s": Figure("1/s", [len(acknowledged) / seconds]),
        **percentiles("submit", waits_ms),
        "lost": Figure("answers", [float(len(acknowledged - kept))]),
        "over_assigned": Figure("items", [float(sum(n > VOTES for n in votes.values()))]),
        "unfinished": Figure("items", [float(items - sum(n >= VOTES for n in votes.values()))]),
    }


if __name__ == "__main__":
    main("annotation", __doc__, run, repeats=1)
