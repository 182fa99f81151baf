"""Stopping by a signal: a run ends behind what is stored, and goes on there when run again."""

import signal
import threading
from types import FrameType
from typing import Any

from umc_ray.campaign.stages import ProgressListener
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def wait_for_signal() -> None:
    """Wait until this process is asked to end, even where it was started to ignore that.

    Only for the main thread, and after Ray has started, which sets handlers of its own.
    """
    asked = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


class StopOnSignal:
    """Follows a run, and after a signal ends it between two stages or two parts of one.

    The second signal ends the process at once. Only for the main thread.
    """

    def __init__(self, watch: ProgressListener) -> None:
        self.watch = watch
        self._before: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None

    def __enter__(self) -> "StopOnSignal":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Hear that a stage begins, unless there was a signal."""
        if not self._before:  # not earlier: when it starts, Ray sets handlers of its own
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        self._check()
        hear = self.watch.begin(stage, rows)

        def on_rows(done: int) -> None:
            hear(done)
            self._check()

        return on_rows

    def end(self, stage: str, seconds: float) -> None:
        """Hear that a stage is done."""
        self.watch.end(stage, seconds)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    def _check(self) -> None:
        if self._received is not None:
            raise Stopped(
                f"stopped by {self._received.name}: what is done is stored; run it again to go on"
            )
