"""Batching with a fake model that waits for the test."""

import asyncio
import threading

import pytest

from umc_ray.serving.batcher import Batcher
from umc_ray.serving.refusal import Refusal


class Model:
    """Doubles numbers, once the test allows it."""

    def __init__(self):
        self.allowed = threading.Event()
        self.started = threading.Event()
        self.batches = []

    def __call__(self, requests):
        self.batches.append([list(request) for request in requests])
        self.started.set()
        assert self.allowed.wait(10)
        if [0] in requests:
            raise ValueError("zero")
        return [[2 * each for each in request] for request in requests]


async def busy(batcher, model):
    """Submit a request and return once the model is working on it."""
    first = asyncio.create_task(batcher.submit([1]))
    assert await asyncio.to_thread(model.started.wait, 10)
    return first


async def submitted(batcher, *requests):
    tasks = [asyncio.create_task(batcher.submit(request)) for request in requests]
    await asyncio.sleep(0)  # let them run until they wait
    return tasks


def test_requests_that_arrive_while_the_model_is_busy_form_one_batch():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=10, max_wait_s=10)
        first = await busy(batcher, model)
        others = await submitted(batcher, [2, 3], [4], [5, 6])
        model.allowed.set()
        assert await asyncio.gather(first, *others) == [[2], [4, 6], [8], [10, 12]]
        assert model.batches == [[[1]], [[2, 3], [4], [5, 6]]]

    asyncio.run(main())


def test_batches_stay_within_their_size_and_requests_are_never_split():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=4, max_wait_s=10)
        first = await busy(batcher, model)
        others = await submitted(batcher, [1, 2, 3], [4], [5], [6, 7, 8, 9, 10], [11])
        model.allowed.set()
        await asyncio.gather(first, *others)
        sizes = [[len(request) for request in batch] for batch in model.batches]
        assert sizes == [[1], [3, 1], [1], [5], [1]]

    asyncio.run(main())


def test_cancelled_requests_are_skipped_and_affect_no_others():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=10, max_wait_s=10)
        first = await busy(batcher, model)
        gone, stays = await submitted(batcher, [2], [3])
        gone.cancel()
        first.cancel()
        await asyncio.sleep(0)
        model.allowed.set()
        assert await stays == [6]
        assert model.batches == [[[1]], [[3]]]
        assert batcher.waiting == 0

    asyncio.run(main())


def test_a_failed_batch_fails_its_requests_and_no_others():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=2, max_wait_s=10)
        first = await busy(batcher, model)
        others = await submitted(batcher, [0], [2], [3])
        model.allowed.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert [found[0], found[3]] == [[2], [6]]
        assert [str(each) for each in found[1:3]] == ["zero", "zero"]

    asyncio.run(main())


def test_requests_that_would_wait_too_long_are_refused_with_a_retry_time():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=2, max_wait_s=2)
        batcher.seconds, batcher.computed = 5.0, 10.0  # half a second per item
        first = await busy(batcher, model)
        accepted = await submitted(batcher, [2, 3, 4, 5])  # then another waits 2.5 s
        with pytest.raises(Refusal) as refusal:
            await batcher.submit([7])
        assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (503, "3")
        model.allowed.set()
        assert await asyncio.gather(first, *accepted) == [[2], [4, 6, 8, 10]]
        batcher.admit()  # the queue is empty again

    asyncio.run(main())


def test_one_batch_may_queue_behind_another_however_slow_the_model_is():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=2, max_wait_s=0.1)
        batcher.seconds, batcher.computed = 60.0, 1.0
        large = asyncio.create_task(batcher.submit([1, 2, 3, 4, 5]))  # counts as one batch
        await asyncio.to_thread(model.started.wait, 10)
        accepted = await submitted(batcher, [6], [7])
        with pytest.raises(Refusal):
            batcher.admit()
        model.allowed.set()
        assert await asyncio.gather(large, *accepted) == [[2, 4, 6, 8, 10], [12], [14]]

    asyncio.run(main())


def test_a_model_is_behind_while_requests_wait_for_more_than_half_the_limit():
    async def main():
        model = Model()
        batcher = Batcher(model, batch_size=2, max_wait_s=4)
        batcher.seconds, batcher.computed = 5.0, 10.0  # half a second per item
        first = await busy(batcher, model)
        assert not batcher.is_behind  # nothing waits
        others = await submitted(batcher, [2, 3], [4])
        assert not batcher.is_behind
        others += await submitted(batcher, [5])
        assert batcher.is_behind
        model.allowed.set()
        await asyncio.gather(first, *others)
        assert not batcher.is_behind

    asyncio.run(main())
