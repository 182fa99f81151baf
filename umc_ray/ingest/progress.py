"""How many rows have been read, also of a file that is not done.

A text file is one item of work, and can hold all rows that there are. Its usable rows are stored
chunk by chunk, and these are counted while the pass runs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from umc_ray.cluster.background import in_background
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import UmcError
from umc_ray.ingest.stage import Reader

LOOK_EVERY_S = 5.0


@contextmanager
def rows_read(reader: Reader, on_rows: OnRows) -> Iterator[OnRows]:
    """Report the rows of chunks while a pass runs; yields what takes the rows of items."""
    counter = RowCounter(reader, on_rows)
    with in_background(counter.watch):
        yield counter.finish


class RowCounter:
    """Reports each row once: when its chunk is stored, or when its item is done."""

    def __init__(self, reader: Reader, on_rows: OnRows) -> None:
        """Leave out what an earlier run stored."""
        self._storage, self._folder = reader.storage, f"{reader.staging}/rows"
        self._on_rows, self._lock = on_rows, threading.Lock()
        self._rows_by_chunk = dict.fromkeys(self._storage.keys(self._folder), 0)
        self._finished = self._reported = 0

    def watch(self, over: threading.Event) -> None:
        """Look for new chunks until the pass is over."""
        try:
            while not over.wait(LOOK_EVERY_S):
                self.look()
        except UmcError:  # a signal, or a store that is gone: the pass will say so itself
            return

    def look(self) -> None:
        """Report the rows of new chunks."""
        for key in self._storage.keys(self._folder):
            if key not in self._rows_by_chunk:
                self._rows_by_chunk[key] = self._storage.count_rows(key)
        self._report(sum(self._rows_by_chunk.values()))

    def finish(self, rows: int) -> None:
        """Report the rows of an item, good and bad, that are not yet reported."""
        self._finished += rows
        self._report(self._finished)

    def _report(self, total: int) -> None:
        with self._lock:
            more = max(0, total - self._reported)
            self._reported += more
            self._on_rows(more)
