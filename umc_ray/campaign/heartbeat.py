"""The heartbeat of the running stage: a file in the run directory that `umc status` reads.

The file exists while a stage runs and is renewed every few seconds. A process that is killed leaves
it behind, with the time of its last beat.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from umc_ray.cluster.background import in_background
from umc_ray.errors import StoreError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

FOLDER = "running"
KEY = f"{FOLDER}/stage.json"

MIN_STAGE_S = 1.0
"""Shorter stages have no heartbeat: on an object store, writing it would take as long."""

BEAT_EVERY_S = 10.0
LOST_AFTER_S = 6 * BEAT_EVERY_S


@dataclass(frozen=True)
class RunningStage:
    """A running stage; times are seconds since 1970."""

    stage: str
    since: float
    seen: float

    def is_lost(self, now: float) -> bool:
        """Whether its last beat is so long ago that its process must be gone."""
        return now - self.seen > LOST_AFTER_S


@contextmanager
def heartbeat(storage: Storage, stage: str, beat: Callable[[], None]) -> Iterator[None]:
    """Write the heartbeat of a stage while it runs; `beat` is called each time."""
    with in_background(lambda over: _beat(storage, stage, beat, over)):
        yield


def _beat(storage: Storage, stage: str, beat: Callable[[], None], over: threading.Event) -> None:
    since = time.time()
    if over.wait(MIN_STAGE_S):
        return
    while not over.is_set():
        beat()
        try:
            storage.write_json(KEY, asdict(RunningStage(stage, since, time.time())))
        except StoreError as error:  # a stage must not fail for its heartbeat
            logger.warning("cannot write the heartbeat of %s: %s", stage, error)
        over.wait(BEAT_EVERY_S)
    clear_heartbeat(storage)


def running_stage(storage: Storage) -> RunningStage | None:
    """Return the running stage, if there is one."""
    try:
        return RunningStage(**storage.read_json(KEY))
    except StoreError:
        return None


def clear_heartbeat(storage: Storage) -> None:
    """Delete the heartbeat, including that of a process that was killed."""
    try:
        storage.delete(FOLDER)
    except StoreError as error:
        logger.warning("cannot delete the heartbeat: %s", error)
