"""Answers of many people at once in few transactions: a disk makes only so many a second."""

import threading
from dataclasses import dataclass

from umc_ray.annotation.store import AnnotationStore, Answer
from umc_ray.errors import StoreError


@dataclass
class _Waiting:
    answer: Answer
    client_key: str
    done: bool = False
    error: Exception | None = None


class Recorder:
    """Records single answers from many threads; whoever's turn it is writes for all who wait."""

    def __init__(self, store: AnnotationStore) -> None:
        """Record into a store."""
        self._store = store
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._queue: list[_Waiting] = []

    def record(self, answer: Answer, client_key: str) -> None:
        """Keep an answer, each client key once; when it returns, the answer is on disk.

        Raises:
            StoreError: as `AnnotationStore.record`; the answers of others are kept.
        """
        mine = _Waiting(answer, client_key)
        with self._guard:
            self._queue.append(mine)
        with self._turn:
            if not mine.done:
                with self._guard:
                    group, self._queue = self._queue, []
                self._write(group)
        if mine.error is not None:
            raise mine.error

    def _write(self, group: list[_Waiting]) -> None:
        """Write a group; if one of it is refused, each by itself."""
        try:
            self._store.record([each.answer for each in group], [each.client_key for each in group])
        except Exception as error:  # whoever waits must hear of it
            if isinstance(error, StoreError) and len(group) > 1:
                for each in group:
                    self._write([each])
            else:
                for each in group:
                    each.error = error
        for each in group:
            each.done = True
