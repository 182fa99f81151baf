"""Answers of many people at once in few transactions: a disk makes only so many a second."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from umc_ray.annotation.store import AnnotationStore, Answer
from umc_ray.errors import StoreError


@dataclass(frozen=True)
class _Waiting:
    answers: Sequence[Answer]
    client_keys: Sequence[str]
    kept: Future[None] = field(default_factory=Future)


class Recorder:
    """Records answers in a thread of its own: each time, all that came in the meantime."""

    def __init__(self, store: AnnotationStore) -> None:
        """Record into a store."""
        self._store = store
        self._guard = threading.Lock()
        self._queue: list[_Waiting] = []
        self._writer = ThreadPoolExecutor(1, "recorder")

    def record(self, answers: Sequence[Answer], client_keys: Sequence[str]) -> Future[None]:
        """Keep answers, each client key once; when the future is done, they are on disk.

        It fails as `AnnotationStore.record` does, for all of these answers and for no others.
        """
        mine = _Waiting(answers, client_keys)
        with self._guard:
            is_first = not self._queue
            self._queue.append(mine)
        if is_first:
            self._writer.submit(self._write_queue)
        return mine.kept

    def _write_queue(self) -> None:
        with self._guard:
            group, self._queue = self._queue, []
        group = [each for each in group if each.kept.set_running_or_notify_cancel()]
        if group:
            self._write(group)

    def _write(self, group: Sequence[_Waiting]) -> None:
        """Write a group; if one of it is refused, each by itself."""
        try:
            self._store.record(
                [answer for each in group for answer in each.answers],
                [key for each in group for key in each.client_keys],
            )
        except Exception as error:  # whoever waits must hear of it
            if isinstance(error, StoreError) and len(group) > 1:
                for each in group:
                    self._write([each])
            else:
                for each in group:
                    each.kept.set_exception(error)
        else:
            for each in group:
                each.kept.set_result(None)
