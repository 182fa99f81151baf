"""What a person sees at the terminal: progress while stages run, and a campaign's state."""

import time
from datetime import timedelta

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
from rich.table import Table
from rich.text import Text

from umc_ray.campaign.campaign import finished_rounds, round_metrics
from umc_ray.campaign.heartbeat import running_stage
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.cluster.stream import OnRows

console = Console()


def say(text: object) -> None:
    """Print a line as it is: paths with [brackets] stay whole, long ones on one line."""
    console.print(str(text), markup=False, highlight=False, soft_wrap=True)


class _Speed(ProgressColumn):
    """Rows per second."""

    def render(self, task: Task) -> Text:
        """Show the speed so far, if rows are counted."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


class ProgressDisplay:
    """Shows the running stage with its speed and remaining time, and a line for each long one."""

    LONG_S = 1.0

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> "ProgressDisplay":
        """Begin to draw."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Show a stage; returns what is called with each number of rows done."""
        task = self.progress.add_task(stage, total=rows)
        self.task = task
        return lambda done: self.progress.advance(task, done)

    def end(self, stage: str, seconds: float) -> None:
        """Take the stage away again."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        if seconds >= self.LONG_S:
            console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {stage} in {seconds:.1f} s")


def status_table(run: Run) -> Table:
    """Lay out a campaign's state: labels, cost and accuracy of each domain after each round."""
    rounds = finished_rounds(run.storage)
    table = Table(title=f"{run.config.name}: {rounds} rounds done", title_justify="left")
    for name in ("domain", "labels", "cost", "audit accuracy", "test accuracy", "uncertainty"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    if rounds:
        for domain_key, found in round_metrics(run.storage, rounds)[-1]["domains"].items():
            audit, test = found["audit"], found["test"]
            table.add_row(
                domain_key,
                str(found["labels"]),
                f"{found['cost']:.0f}",
                f"{audit['accuracy']:.3f} ({audit['low']:.2f}-{audit['high']:.2f})"
                if audit
                else "",
                f"{test['accuracy']:.3f}" if test else "",
                f"{found['uncertainty']:.3f}" if found["uncertainty"] is not None else "",
            )
    return table


def at_work(run: Run) -> list[str]:
    """Say what a campaign does now: the people it waits for, and the stage that runs."""
    lines = []
    number = finished_rounds(run.storage) + 1
    folder = round_folder(number)
    asked = run.storage.exists(f"{folder}/batch.parquet")
    if asked and not run.storage.exists(f"{folder}/labels.parquet"):
        done, questions = run.store.progress(run.config.name, number)
        lines.append(f"round {number} waits for people: {done} of {questions} questions answered")
    stage, now = running_stage(run.storage), time.time()
    if stage is not None and stage.is_lost(now):
        seen = time.strftime("%F %T", time.localtime(stage.seen))
        lines.append(
            f"{stage.stage} gave no sign of life since {seen}: run the campaign again, it goes on"
        )
    elif stage is not None:
        since = time.strftime("%F %T", time.localtime(stage.since))
        passed = timedelta(seconds=max(0, int(now - stage.since)))
        lines.append(f"{stage.stage} runs since {since}, for {passed}")
    return lines
