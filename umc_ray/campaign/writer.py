"""One process at a time works on a run directory; the others are told who does.

    writer/<id>/claim.json   a claim: who, since when, and when it was seen last

A process writes its claim before it looks for others, on any storage that lists what was written.
So of two that come at once, at least one sees the other. The claim of a process that is gone does
not count: where it can be seen at once, otherwise when it has not been renewed for a while. A
process that stood still for so long that its claim was taken ends before it stores more.
"""

import getpass
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from umc_ray.campaign.heartbeat import BEAT_EVERY_S, LOST_AFTER_S
from umc_ray.cluster.background import in_background
from umc_ray.errors import Busy, StoreError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

_HELD: dict[str, str] = {}
"""The claims of this process, by the root of the run directory."""

FOLDER = "writer"
WATCH_S = 3 * BEAT_EVERY_S
"""How long to watch a claim that looks old: the clock of its machine may be another one."""


@dataclass(frozen=True)
class Claim:
    """Who works on a run directory; times are seconds since 1970."""

    user: str
    host: str
    pid: int
    started: float  # of the process: its number may be another's by now
    since: float
    seen: float
    place: str = ""  # where its number means this process

    def __str__(self) -> str:
        """Say who it is."""
        since = time.strftime("%F %T", time.localtime(self.since))
        return f"process {self.pid} of {self.user} on {self.host}, since {since}"


@contextmanager
def sole_writer(storage: Storage) -> Iterator[None]:
    """Claim a run directory while the block runs.

    Raises:
        Busy: another process works on it; the message names it.
    """
    key, claim = f"{FOLDER}/{uuid.uuid4().hex}/claim.json", _own_claim()
    storage.write_record(key, claim)
    try:
        _check_others(storage, key)
        _HELD[storage.root] = key
        with in_background(lambda over: _renew(storage, key, claim, over)):
            yield
    finally:
        _HELD.pop(storage.root, None)
        with suppress(StoreError):  # a claim that stays behind ends with the process
            storage.delete(key.rsplit("/", 1)[0])


def check_claim(storage: Storage) -> None:
    """Make sure that a run directory that this process has claimed is still its own.

    Raises:
        Busy: another process has taken it over; nothing more may be stored.
    """
    key = _HELD.get(storage.root)
    if key is not None and not storage.exists(key):
        raise Busy(
            f"{storage.root} was taken over by another process, which saw no sign of this one for "
            f"{LOST_AFTER_S:.0f} s. What it had stored stays: let the other one go on"
        )


def _check_others(storage: Storage, own: str) -> None:
    """Delete the claims of processes that are gone.

    Raises:
        Busy: one is at work.
    """
    for key in storage.keys(FOLDER):
        if key == own:
            continue
        try:
            claim = storage.read_record(key, Claim)
        except StoreError:  # its process ended between the two calls
            continue
        if _is_at_work(storage, key, claim):
            raise Busy(
                f"{storage.root} is being worked on by {claim}: wait until it ends, or end it"
            )
        storage.delete(key.rsplit("/", 1)[0])


def _is_at_work(storage: Storage, key: str, claim: Claim) -> bool:
    if claim.place == _place():
        return _started(claim.pid) == claim.started
    if abs(time.time() - claim.seen) <= LOST_AFTER_S:
        return True
    logger.warning("looking for %.0f s whether %s is still at work", WATCH_S, claim)
    time.sleep(WATCH_S)
    try:
        return storage.read_record(key, Claim).seen != claim.seen
    except StoreError:  # it has ended meanwhile
        return False


def _renew(storage: Storage, key: str, claim: Claim, over: threading.Event) -> None:
    while not over.wait(BEAT_EVERY_S):
        try:
            if not storage.exists(key):
                return  # it was taken over: another process is at work
            storage.write_record(key, replace(claim, seen=time.time()))
        except StoreError as error:  # the run itself will meet what is wrong with the storage
            logger.warning("cannot renew the claim on %s: %s", storage.root, error)


def _own_claim() -> Claim:
    now, pid = time.time(), os.getpid()
    return Claim(_user(), socket.gethostname(), pid, _started(pid) or now, now, now, _place())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"


def _place() -> str:
    """Name where a process number means one process: a machine since its start, or a container."""
    names = [socket.gethostname()]
    with suppress(OSError):  # only Linux says more
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        names.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(names)


def _started(pid: int) -> float | None:
    """Return when a process that can be seen here started; None if it is gone.

    On Linux in ticks since the machine was: a clock that is set moves what psutil says.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with suppress(OSError):
            return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        return process.create_time()
    except psutil.NoSuchProcess:
        return None
