"""Requests that wait together are computed together.

A batch is what waits when the model becomes free: at rest a request runs at once, under load
batches fill by themselves. `serve.batch` instead closes a batch some milliseconds after its first
request, also while the model is busy, so that small batches queue up.
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

HELD = 2
"""Batches that are held however long they take: one that is computed, and one that waits."""

MEMORY = 0.9
"""How much of the measured speed is kept when a batch adds its own."""


@dataclass(frozen=True)
class _Waiting(Generic[Item, Result]):
    items: Sequence[Item]
    future: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Runs `work` on the items of several requests at once, in a thread, one batch at a time.

    `work` takes the items of each request and returns a result for each, all computed alike. A
    request is never divided: it may be larger than a batch, and then runs alone.
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
        self.queue: deque[_Waiting[Item, Result]] = deque()
        self.waiting = self.running = 0
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.runner: asyncio.Task[None] | None = None
        self.seconds = self.computed = 0.0

    async def submit(self, items: Sequence[Item]) -> Result:
        """Compute a request's items together with those of others.

        Raises:
            Refusal: as of `admit`.
        """
        self.admit()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.queue.append(_Waiting(items, future))
        self.waiting += len(items)
        if self.runner is None:
            self.runner = asyncio.create_task(self._run())
        return await future

    def admit(self) -> None:
        """Refuse who would wait too long, before anything is done for them.

        Raises:
            Refusal: `HELD` batches are computed or wait, and take longer than `max_wait_s`.
        """
        wait_s = (self.running + self.waiting) * self.seconds_per_item
        held = min(self.running, self.batch_size) + self.waiting  # a large request is one batch
        if held >= HELD * self.batch_size and wait_s > self.max_wait_s:
            raise Refusal(503, "too many requests wait", retry_after_s=wait_s)

    @property
    def seconds_per_item(self) -> float:
        """How long the model took per item of late; 0 as long as nothing is known."""
        return self.seconds / self.computed if self.computed else 0.0

    async def _run(self) -> None:
        """Compute batches until nobody waits."""
        try:
            while self.queue:
                if batch := self._take():
                    await self._run_batch(batch)
        finally:
            self.runner = None

    async def _run_batch(self, batch: list[_Waiting[Item, Result]]) -> None:
        began, self.running = monotonic(), sum(len(each.items) for each in batch)
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(
                self.thread, self.work, [each.items for each in batch]
            )
        except Exception as error:  # belongs to those who wait, not to this task
            for each in batch:
                if not each.future.done():
                    each.future.set_exception(error)
            return
        finally:
            items, self.running = self.running, 0
        self._learn(monotonic() - began, items)
        self.on_batch(items)
        for each, result in zip(batch, results, strict=True):
            if not each.future.done():  # its client may have left
                each.future.set_result(result)

    def _take(self) -> list[_Waiting[Item, Result]]:
        """Take the requests that waited longest, as many as fit."""
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while self.queue and (not batch or size + len(self.queue[0].items) <= self.batch_size):
            each = self.queue.popleft()
            self.waiting -= len(each.items)
            if not each.future.done():
                batch.append(each)
                size += len(each.items)
        return batch

    def _learn(self, seconds: float, items: int) -> None:
        self.seconds = self.seconds * MEMORY + seconds
        self.computed = self.computed * MEMORY + items
