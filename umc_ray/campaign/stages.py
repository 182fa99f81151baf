"""The stage engine: a stage whose output is stored is never computed again."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from umc_ray.campaign.heartbeat import heartbeat
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import StageError, UmcError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Output = TypeVar("Output", pa.Table, dict[str, Any])
Result = TypeVar("Result")


class ProgressListener(Protocol):
    """Whoever follows a run: a progress bar, a log."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Hear that a stage begins; returns what is called with each number of rows done."""
        ...

    def end(self, stage: str, seconds: float) -> None:
        """Hear that a stage is done."""
        ...


class NullListener:
    """Nobody follows."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Say nothing."""
        return lambda rows: None

    def end(self, stage: str, seconds: float) -> None:
        """Say nothing."""


NULL_LISTENER = NullListener()


@dataclass(frozen=True)
class Stages:
    """Runs the stages of a campaign.

    `beat` is called now and then while a stage runs.
    """

    storage: Storage
    listeners: tuple[ProgressListener, ...]
    beat: Callable[[], None]

    def run(
        self,
        key: str,
        compute: Callable[[OnRows], Output],
        rows: int | None = None,
    ) -> Output:
        """Return a stage's stored output, or compute and store it.

        Args:
            key: the output's file; a table (.parquet) or a document (.json).
            compute: is given what to call with each number of rows done.
            rows: how many rows there will be, if known.

        Raises:
            StageError: the stage failed for a reason that is no UmcError of its own.
        """
        is_table = key.endswith(".parquet")
        if self.storage.exists(key):
            stored: Output = (self.storage.read_table if is_table else self.storage.read_json)(key)
            return stored
        output = self.step(key.rsplit(".", 1)[0], compute, rows)
        (self.storage.write_table if is_table else self.storage.write_json)(key, output)
        return output

    def step(
        self, name: str, compute: Callable[[OnRows], Result], rows: int | None = None
    ) -> Result:
        """Do work that knows by itself what is done already; log it and say how it goes."""
        began = time.monotonic()
        try:
            with heartbeat(self.storage, name, self.beat):
                result = compute(self.follow(name, rows))
        except UmcError:
            raise
        except Exception as error:
            raise StageError(f"{name} of {self.storage.root} failed: {error!r}") from error
        seconds = time.monotonic() - began
        for listener in self.listeners:
            listener.end(name, seconds)
        self.event(name, seconds=round(seconds, 3), rows=_row_count(result))
        logger.info("%s in %.1f s", name, seconds)
        return result

    def follow(self, stage: str, rows: int | None) -> OnRows:
        """Tell all who follow that a stage begins; returns what is called with rows done."""
        heard = [listener.begin(stage, rows) for listener in self.listeners]

        def on_rows(done: int) -> None:
            for hear in heard:
                hear(done)

        return on_rows

    def event(self, stage: str, **values: Any) -> None:  # noqa: ANN401 - anything JSON can hold
        """Add a line to the run's log of events."""
        line = {"time": round(time.time(), 3), "stage": stage, **values}
        self.storage.append_line("events.jsonl", json.dumps(line))


def _row_count(result: object) -> int | None:
    if isinstance(result, pa.Table):
        return int(result.num_rows)
    if isinstance(result, dict):
        return result.get("rows")
    return result if isinstance(result, int) else None
