"""Terminal output: plain lines, and progress while stages run."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

SPEED_PERIOD_S = 300.0
"""What a speed is measured over: a part of a pass can take minutes."""

console = Console()


def print_line(text: object) -> None:
    """Print one line without markup, highlighting or wrapping, so that paths stay intact."""
    console.print(str(text), markup=False, highlight=False, soft_wrap=True)


def counted(count: int, noun: str, ending: str = "s") -> str:
    """Return a number of things, such as `1 row` or `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def first_of(names: Sequence[str], shown: int = 3) -> str:
    """Name the first ones, and say how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


class _RowsPerSecond(ProgressColumn):
    """The speed of a task."""

    def render(self, task: Task) -> Text:
        """Return the speed so far, or nothing if rows are not counted."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


class ProgressDisplay:
    """Shows a progress bar for each running stage, and prints a line for each long one."""

    LONG_S = 1.0

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RowsPerSecond(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            speed_estimate_period=SPEED_PERIOD_S,
        )
        self.bars: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressDisplay":
        """Start drawing."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the terminal."""
        self.progress.stop()

    def begin(self, stage: str, rows: int | None) -> Callable[[int], None]:
        """Add a progress bar, or start that of the stage anew; return what takes rows done."""
        if stage in self.bars:
            self.progress.reset(self.bars[stage], total=rows)
        else:
            self.bars[stage] = self.progress.add_task(stage, total=rows)
        bar = self.bars[stage]
        return lambda done: self.progress.advance(bar, done)

    def end(self, stage: str, seconds: float) -> None:
        """Remove the progress bar."""
        if stage in self.bars:
            self.progress.remove_task(self.bars.pop(stage))
        if seconds >= self.LONG_S:
            console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {stage} in {seconds:.1f} s")
