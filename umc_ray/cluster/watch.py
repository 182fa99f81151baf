"""Say in one line that Ray has ended on this machine.

Of a dead gcs_server, Ray says it in pages, a minute later. When the raylet ends, Ray ends this
process at once, without a word: then a process that has waited for that says it.
"""

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

import psutil
import ray

SERVERS = ("raylet", "gcs_server")
EVERY_S = 0.2
DIED_EXIT = 1
KILLED = "error: Ray or this command was killed, or out of memory; run again: work is kept"

WITNESS = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not os.read(0, 1):
    os.write(2, MESSAGE)
"""
"""It is told when this process ends in order; if it only sees the end, it says so."""


def watch_servers() -> None:
    """End this process with one line if a server of its private cluster ends before it does."""
    children = psutil.Process().children(recursive=True)
    servers = {each: name for each in children if (name := each.name()) in SERVERS}
    say_goodbye = start_witness(KILLED)
    atexit.register(say_goodbye)

    def end(name: str) -> None:
        say_goodbye()
        _end(name)

    arguments = (servers, ray.is_initialized, end)
    threading.Thread(target=watch, args=arguments, daemon=True).start()


def start_witness(message: str) -> Callable[[], None]:
    """Start a process that writes a message when this one ends, unless it was told goodbye."""
    code = WITNESS.replace("MESSAGE", repr(f"{message}\n".encode()))
    witness = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )

    def say_goodbye() -> None:
        witness.communicate(b".")

    return say_goodbye


def watch(
    servers: Mapping[psutil.Process, str], in_use: Callable[[], bool], end: Callable[[str], None]
) -> None:
    """Wait until a server ends; `end` is told its name if Ray is still in use."""
    gone: list[str] = []
    while servers and not gone:
        gone = [name for each, name in servers.items() if not _is_running(each)]
        time.sleep(0 if gone else EVERY_S)
    if gone and in_use():
        end(gone[0])


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(name: str) -> None:
    sys.stderr.write(
        f"error: {name} of Ray has ended, out of memory or killed; run again: work is kept\n"
    )
    sys.stderr.flush()
    os._exit(DIED_EXIT)  # threads of Ray wait for it
