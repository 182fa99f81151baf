"""Fine-tuning that people can watch: a progress bar, metrics, and a line of the log per epoch."""

import time
from collections.abc import Callable

from umc_ray.campaign.run import Run
from umc_ray.specialists.specialist import Epoch


class EpochReporter:
    """Hears of the fits of a campaign, whose folders are models/<task>/<round>/<specialist>."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._began: dict[str, float] = {}

    def begin(self, folder: str, samples: int) -> Callable[[Epoch], None]:
        """Start the bar of a fit; its speed and the time that is left come from the samples."""
        _, task, _, specialist = folder.split("/")
        self._began[folder] = time.monotonic()
        on_rows, number = self.run.stages.follow(_bar(folder), samples), 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal number
            number += 1
            self.run.exporter.epoch(task, specialist, number, epoch)
            self.run.stages.event(
                "epoch",
                task=task,
                specialist=specialist,
                fold=epoch.stage,
                epoch=epoch.epoch + 1,
                loss=round(epoch.loss, 4),
                samples=epoch.samples,
                samples_per_s=round(epoch.samples_per_s, 1),
            )
            on_rows(epoch.samples)

        return on_epoch

    def end(self, folder: str) -> None:
        """Remove the bar."""
        seconds = time.monotonic() - self._began.pop(folder)
        for listener in self.run.stages.listeners:
            listener.end(_bar(folder), seconds)


def _bar(folder: str) -> str:
    _, task, _, specialist = folder.split("/")
    return f"fine-tuning {task}/{specialist}"
