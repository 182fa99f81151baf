"""Which stage of a run is at work: a note in the run directory, for `umc status` anywhere.

The note is there while a stage runs and is signed again and again. A process that is killed leaves
its note behind, with its last sign of life.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from umc_ray.errors import StoreError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

FOLDER = "running"
KEY = f"{FOLDER}/stage.json"

PATIENCE_S = 1.0
"""Shorter stages leave no note: on an object store it would take as long as they do."""

SIGN_EVERY_S = 10.0
LOST_AFTER_S = 6 * SIGN_EVERY_S


@dataclass(frozen=True)
class RunningStage:
    """A stage at work; times are seconds since 1970."""

    stage: str
    since: float
    seen: float

    def is_lost(self, now: float) -> bool:
        """Whether its process gave no sign of life for so long that it must be gone."""
        return now - self.seen > LOST_AFTER_S


@contextmanager
def heartbeat(storage: Storage, stage: str, beat: Callable[[], None]) -> Iterator[None]:
    """Keep the note of a stage while it runs; `beat` is called at each sign of life."""
    over = threading.Event()
    signer = threading.Thread(target=_sign, args=(storage, stage, beat, over), daemon=True)
    signer.start()
    try:
        yield
    finally:
        over.set()
        signer.join()


def _sign(storage: Storage, stage: str, beat: Callable[[], None], over: threading.Event) -> None:
    since = time.time()
    if over.wait(PATIENCE_S):
        return
    while not over.is_set():
        beat()
        try:
            storage.write_json(KEY, asdict(RunningStage(stage, since, time.time())))
        except StoreError as error:  # a note is not worth a stage
            logger.warning("%s runs on without a note: %s", stage, error)
        over.wait(SIGN_EVERY_S)
    clear_heartbeat(storage)


def running_stage(storage: Storage) -> RunningStage | None:
    """Read the note, if there is one."""
    try:
        return RunningStage(**storage.read_json(KEY))
    except StoreError:
        return None


def clear_heartbeat(storage: Storage) -> None:
    """Take the note away, also that of a process that was killed."""
    try:
        storage.delete(FOLDER)
    except StoreError as error:
        logger.warning("the note of a stage stays behind: %s", error)
