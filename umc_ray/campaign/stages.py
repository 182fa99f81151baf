"""The stage engine: a stage whose output is stored is never computed again."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from umc_ray.campaign.heartbeat import heartbeat
from umc_ray.campaign.writer import check_claim
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import StageError, UmcError, message_of
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Output = TypeVar("Output")
Result = TypeVar("Result")


class ProgressListener(Protocol):
    """What follows the progress of a run, such as a progress bar."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Start a stage, or count anew; returns the function that takes each number of rows."""
        ...

    def end(self, stage: str, seconds: float) -> None:
        """End a stage."""
        ...


class NullListener:
    """Ignores all progress."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Ignore the stage."""
        return lambda rows: None

    def end(self, stage: str, seconds: float) -> None:
        """Ignore the end."""


NULL_LISTENER = NullListener()


@dataclass(frozen=True)
class Stages:
    """Runs the stages of a campaign.

    `beat` is called every few seconds while a stage runs.
    """

    storage: Storage
    listeners: tuple[ProgressListener, ...]
    beat: Callable[[], None]

    def run(
        self,
        key: str,
        kind: type[Output],
        compute: Callable[[OnRows], Output],
        rows: int | None = None,
        writes: Sequence[str] = (),
    ) -> Output:
        """Return a stage's stored output, or compute and store it.

        Args:
            key: where the output is stored.
            kind: pa.Table, or the dataclass of a document.
            compute: called with the function to report each number of rows done to.
            rows: how many rows there will be, if known.
            writes: what else it stores: files, and folders that nothing else writes to.

        Raises:
            StageError: the stage failed for a reason that is no UmcError of its own.
        """
        if self.storage.exists(key):
            output = self._read(key, kind)
            self._seal(key, *writes)
            return output
        output = self.step(key.rsplit(".", 1)[0], compute, rows)
        if isinstance(output, pa.Table):
            self.storage.write_table(key, output)
        else:
            self.storage.write_record(key, output)
        self._seal(key, *writes)
        return output

    def _seal(self, *written: str) -> None:
        """Record what is done; also what a process stored that was killed before it got here."""
        if written and not self.storage.is_sealed(written[0]):
            for each in written:
                single = self.storage.exists(each)
                self.storage.seal([each] if single else self.storage.keys(each))

    def _read(self, key: str, kind: type[Output]) -> Output:
        if kind is pa.Table:
            table: Output = self.storage.read_table(key)
            return table
        return self.storage.read_record(key, kind)

    def step(
        self,
        name: str,
        compute: Callable[[OnRows], Result],
        rows: int | None = None,
        writes: Sequence[str] = (),
    ) -> Result:
        """Do work that skips by itself what is done already; log it and report its progress.

        `writes` names the folders of what it stores.
        """
        check_claim(self.storage)
        began = time.monotonic()
        try:
            with heartbeat(self.storage, name, self.beat):
                result = compute(self.follow(name, rows))
        except UmcError:
            raise
        except Exception as error:
            raise StageError(
                f"{name} of {self.storage.root} failed: {message_of(error)}"
            ) from error
        check_claim(self.storage)
        self._seal(*writes)
        seconds = time.monotonic() - began
        for listener in self.listeners:
            listener.end(name, seconds)
        self.event(name, seconds=round(seconds, 3), rows=_row_count(result))
        logger.info("%s in %.1f s", name, seconds)
        return result

    def follow(self, stage: str, rows: int | None) -> OnRows:
        """Start a stage for all listeners; returns the function that takes rows done.

        A stage that learns only later how many rows there are is started again.
        """
        reports = [listener.begin(stage, rows) for listener in self.listeners]

        def on_rows(done: int) -> None:
            for report in reports:
                report(done)

        return on_rows

    def event(self, stage: str, **values: Any) -> None:  # noqa: ANN401 - anything JSON can hold
        """Add a line to the run's log of events."""
        line = {"time": round(time.time(), 3), "stage": stage, **values}
        self.storage.append_line("events.jsonl", json.dumps(line))


def _row_count(result: object) -> int | None:
    if isinstance(result, pa.Table):
        return int(result.num_rows)
    rows = result if isinstance(result, int) else getattr(result, "rows", None)
    return rows if isinstance(rows, int) else None
