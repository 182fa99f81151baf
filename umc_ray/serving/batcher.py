"""Dynamic batching: requests that arrive while the model is busy are computed together.

A batch is everything that is queued when the model becomes free. So a lone request runs at once,
and batches grow under load. `serve.batch` instead closes a batch a fixed time after its first
request, even while the model is busy, so that small batches queue up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from umc_ray.serving.refusal import Refusal

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_BATCHES = 2
"""Batches that are accepted however slow the model is: one running and one queued."""

DECAY = 0.9
"""Weight of the earlier batches in the measured speed when a batch is added."""


@dataclass(frozen=True)
class _Request(Generic[Item, Result]):
    items: Sequence[Item]
    future: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Runs `work` on the items of several requests at once, in a thread, one batch at a time.

    `work` takes the items of each request and returns one result per request. A request is never
    split: one that is larger than a batch runs alone.
    """

    def __init__(
        self,
        work: Callable[[list[Sequence[Item]]], list[Result]],
        batch_size: int,
        max_wait_s: float,
        on_batch: Callable[[int], object] = lambda items: None,
    ) -> None:
        self.work, self.batch_size, self.max_wait_s = work, batch_size, max_wait_s
        self.on_batch = on_batch
        self.queue: deque[_Request[Item, Result]] = deque()
        self.waiting = self.running = 0  # items
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.runner: asyncio.Task[None] | None = None
        self.seconds = self.computed = 0.0  # decaying sums over recent batches

    async def submit(self, items: Sequence[Item]) -> Result:
        """Compute a request's items, in one batch with those of other requests.

        Raises:
            Refusal: see `admit`.
        """
        self.admit()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.queue.append(_Request(items, future))
        self.waiting += len(items)
        if self.runner is None:
            self.runner = asyncio.create_task(self._run())
        return await future

    def admit(self) -> None:
        """Refuse a request that would wait too long, before any work is done for it.

        Raises:
            Refusal: `MIN_BATCHES` batches are running or queued, and they take longer than
                `max_wait_s`.
        """
        held = min(self.running, self.batch_size) + self.waiting  # a large request is one batch
        if held >= MIN_BATCHES * self.batch_size and self.wait_s > self.max_wait_s:
            reason = "overloaded: too many requests are waiting"
            raise Refusal(503, reason, retry_after_s=self.wait_s)

    @property
    def wait_s(self) -> float:
        """How long a new request would wait."""
        return (self.running + self.waiting) * self.seconds_per_item

    @property
    def is_behind(self) -> bool:
        """Whether requests wait, and a new one would wait for more than half of `max_wait_s`."""
        return self.waiting > 0 and self.wait_s > self.max_wait_s / 2

    @property
    def seconds_per_item(self) -> float:
        """The model's recent time per item; 0 before the first batch."""
        return self.seconds / self.computed if self.computed else 0.0

    async def _run(self) -> None:
        """Compute batches until the queue is empty."""
        try:
            while self.queue:
                if batch := self._take():
                    await self._run_batch(batch)
        finally:
            self.runner = None

    async def _run_batch(self, batch: list[_Request[Item, Result]]) -> None:
        start, self.running = monotonic(), sum(len(request.items) for request in batch)
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(
                self.thread, self.work, [request.items for request in batch]
            )
        except Exception as error:  # for the submitters, not for this task
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
            return
        finally:
            items, self.running = self.running, 0
        self._update_speed(monotonic() - start, items)
        self.on_batch(items)
        for request, result in zip(batch, results, strict=True):
            if not request.future.done():  # done if its client disconnected
                request.future.set_result(result)

    def _take(self) -> list[_Request[Item, Result]]:
        """Take the oldest requests off the queue, as many as fit into a batch."""
        batch: list[_Request[Item, Result]] = []
        size = 0
        while self.queue and (not batch or size + len(self.queue[0].items) <= self.batch_size):
            request = self.queue.popleft()
            self.waiting -= len(request.items)
            if not request.future.done():
                batch.append(request)
                size += len(request.items)
        return batch

    def _update_speed(self, seconds: float, items: int) -> None:
        self.seconds = self.seconds * DECAY + seconds
        self.computed = self.computed * DECAY + items
