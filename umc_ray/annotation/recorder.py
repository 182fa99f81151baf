"""Group commit: store the answers of concurrent requests in one transaction.

A durable commit costs a disk flush, and a disk does only so many of them per second.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from umc_ray.annotation.store import AnnotationStore, Answer
from umc_ray.errors import StoreError


@dataclass(frozen=True)
class _Request:
    answers: Sequence[Answer]
    client_keys: Sequence[str]
    done: Future[None] = field(default_factory=Future)


class Recorder:
    """Writes answers in its own thread; each transaction takes all requests queued so far."""

    def __init__(self, store: AnnotationStore) -> None:
        """Write to a store."""
        self._store = store
        self._lock = threading.Lock()
        self._queue: list[_Request] = []
        self._writer = ThreadPoolExecutor(1, "recorder")

    def record(self, answers: Sequence[Answer], client_keys: Sequence[str]) -> Future[None]:
        """Store answers, each client key once; the future completes when they are on disk.

        The future raises what `AnnotationStore.record` raises for these answers; other
        requests are not affected.
        """
        request = _Request(answers, client_keys)
        with self._lock:
            is_first = not self._queue
            self._queue.append(request)
        if is_first:
            self._writer.submit(self._write_queue)
        return request.done

    def _write_queue(self) -> None:
        with self._lock:
            requests, self._queue = self._queue, []
        requests = [each for each in requests if each.done.set_running_or_notify_cancel()]
        if requests:
            self._write(requests)

    def _write(self, requests: Sequence[_Request]) -> None:
        """Write requests in one transaction; if the store rejects it, write each on its own."""
        try:
            self._store.record(
                [answer for request in requests for answer in request.answers],
                [key for request in requests for key in request.client_keys],
                asked_only=True,
            )
        except Exception as error:  # every caller must see the error
            if isinstance(error, StoreError) and len(requests) > 1:
                for request in requests:
                    self._write([request])
            else:
                for request in requests:
                    request.done.set_exception(error)
        else:
            for request in requests:
                request.done.set_result(None)
