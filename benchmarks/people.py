"""Simulated annotators: each has one connection to the API and answers whatever is leased to them.

All of them are coroutines in one thread. They share the CPUs with the server under test, unlike
people at their own browsers.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load import Connection
from umc_ray.annotation.store import AnnotationStore
from umc_ray.web.accounts import Accounts
from umc_ray.web.auth import COOKIE, CSRF_HEADER, csrf_token

PASSWORD = "a long password"
HOST = "127.0.0.1"
RETRY_S = 0.05


@dataclass
class Person:
    """An annotator who retries each request, with the same key, until it succeeds."""

    name: str
    port: int
    headers: str
    acknowledged: list[str] = field(default_factory=list)
    """Ids of the samples whose answers the server has acknowledged."""
    waits_s: list[float] = field(default_factory=list)
    """Seconds from each submit to its acknowledgment."""
    connection: Connection | None = None

    async def work(self, batch: str, lease: int) -> None:
        """Lease and answer questions until none is left."""
        while held := await self.ask("GET", f"/api/questions?batch={batch}&n={lease}"):
            for question in held:
                sample = question["sample"]
                key = f"key_{sample['sample_id'].lstrip('-')}_x"
                body = {"client_key": key, "samples": [sample], "label": "good", "seconds": 1.0}
                began = time.perf_counter()
                await self.ask("POST", f"/api/answers?batch={batch}", body)
                self.waits_s.append(time.perf_counter() - began)
                self.acknowledged.append(sample["sample_id"])

    async def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request until it succeeds; returns the content of the response."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}:{self.port}\r\n{self.headers}"
        request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
        while True:
            try:
                if self.connection is None:
                    self.connection = await Connection(HOST, self.port).open()
                status, data = await self.connection.exchange(request)
            except (OSError, asyncio.IncompleteReadError):
                await self.leave()
                await asyncio.sleep(RETRY_S)
                continue
            assert status < 300, (path, status, data[:300])
            return json.loads(data)

    async def leave(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.writer.close()
        self.connection = None


def hire(store: AnnotationStore, port: int, count: int) -> list[Person]:
    """Create accounts, the first for a reviewer; half use a session, half a token."""
    accounts = Accounts(store)
    people = []
    for i in range(count):
        accounts.add(f"p{i}", "annotator" if i else "reviewer", PASSWORD)
        lines = {"content-type": "application/json"}
        if i % 2:
            session = accounts.create_key(f"p{i}", "session")
            lines |= {"cookie": f"{COOKIE}={session}", CSRF_HEADER: csrf_token(session)}
        else:
            lines["authorization"] = f"Bearer {accounts.create_key(f'p{i}', 'token')}"
        headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        people.append(Person(f"p{i}", port, headers))
    return people


async def work_all(people: Sequence[Person], batch: str, lease: int) -> None:
    """Let all people work concurrently until no question is left."""
    await asyncio.gather(*(person.work(batch, lease) for person in people))
    for person in people:
        await person.leave()
