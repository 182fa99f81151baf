"""The epochs of fits that run elsewhere: their processes write a log, the driver reads it.

The log is a file of the run directory, which every process can write to: that of a task as well as
that of a worker group. The logs are gone when all fits are done.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from umc_ray.specialists.specialist import Epoch
from umc_ray.storage import Storage

FOLDER = "epochs"


class FitListener(Protocol):
    """What follows the fine-tuning of specialists, which are named by their folders."""

    def begin(self, folder: str, samples: int) -> Callable[[Epoch], None]:
        """Start a fit of so many samples at most, counted in each epoch anew.

        Returns the function that takes each epoch.
        """
        ...

    def end(self, folder: str) -> None:
        """End a fit."""
        ...


class NullFitListener:
    """Ignores all fits."""

    def begin(self, folder: str, samples: int) -> Callable[[Epoch], None]:
        """Ignore the fit."""
        return lambda epoch: None

    def end(self, folder: str) -> None:
        """Ignore the end."""


NULL_FIT_LISTENER = NullFitListener()


class EpochLog:
    """The log of one fit, to which one process writes and which another reads."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Name the log after the folder of the specialist."""
        self.storage, self.key = storage, f"{FOLDER}/{folder}.jsonl"
        self._read = 0

    def write(self, epoch: Epoch) -> None:
        """Add an epoch."""
        self.storage.append_line(self.key, json.dumps(asdict(epoch)))

    def new(self) -> list[Epoch]:
        """Return the epochs since the last call."""
        if not self.storage.exists(self.key):
            return []
        # What follows the last line break is still being written.
        *lines, _ = self.storage.read_bytes(self.key).split(b"\n")
        fresh, self._read = lines[self._read :], len(lines)
        return [Epoch(**json.loads(line)) for line in fresh]
