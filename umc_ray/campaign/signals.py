"""Stop on a signal: a run ends after the last stored output and resumes there."""

import signal
import threading
from types import FrameType
from typing import Any

from umc_ray.campaign.stages import ProgressListener
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def wait_for_signal() -> None:
    """Wait for SIGTERM or SIGINT, even in a process that was started to ignore them.

    Call it in the main thread, and after Ray has started, because Ray sets handlers of its own.
    """
    received = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: received.set())
    received.wait()


class StopOnSignal:
    """A listener that ends a run after a signal, between two stages or two parts of one.

    The second signal ends the process at once. Use it in the main thread.
    """

    def __init__(self, listener: ProgressListener) -> None:
        self.listener = listener
        self._before: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None

    def __enter__(self) -> "StopOnSignal":
        """Return the listener."""
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Announce a stage, unless a signal was received."""
        if not self._before:  # not earlier: Ray sets handlers of its own when it starts
            self._before = {each: signal.signal(each, self._receive) for each in SIGNALS}
        self._check()
        report = self.listener.begin(stage, rows)

        def on_rows(done: int) -> None:
            report(done)
            self._check()

        return on_rows

    def end(self, stage: str, seconds: float) -> None:
        """Announce that a stage is done."""
        self.listener.end(stage, seconds)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    def _check(self) -> None:
        if self._received is not None:
            raise Stopped(
                f"stopped by {self._received.name}: what is done is stored; "
                "run the campaign again to resume"
            )
