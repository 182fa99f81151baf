"""What people see of fine-tuning, without Ray."""

from types import SimpleNamespace

from tests.campaign.test_stages import Heard, stages_of
from umc_ray.campaign.epochs import EpochReporter
from umc_ray.report.stage_times import events, stage_times
from umc_ray.specialists.specialist import Epoch
from umc_ray.storage import Storage

FOLDER = "models/mood/0002/tuned"


class Recorded(list):
    """Stands in for the exporter of metrics."""

    def epoch(self, *what):
        self.append(what)


def test_epochs_are_on_the_bar_in_the_metrics_and_in_the_log_of_events(tmp_path):
    storage, heard, recorded = Storage(str(tmp_path)), Heard(), Recorded()
    run = SimpleNamespace(stages=stages_of(storage, heard), exporter=recorded)
    reporter = EpochReporter(run)
    on_epoch = reporter.begin(FOLDER, 360)
    first, second = Epoch(0, 0, 0.75, 27, 9.04), Epoch(1, 0, 0.5, 26, 8.0)
    on_epoch(first)
    on_epoch(second)
    reporter.end(FOLDER)
    bar = "fine-tuning mood/tuned"
    assert heard == [(bar, 360), 27, 26, bar]
    assert recorded == [("mood", "tuned", 1, first), ("mood", "tuned", 2, second)]
    lines = events(storage)
    assert [(each["stage"], each["specialist"], each["fold"]) for each in lines] == [
        ("epoch", "tuned", 0),
        ("epoch", "tuned", 1),
    ]
    assert {
        name: lines[0][name] for name in ("task", "epoch", "loss", "samples", "samples_per_s")
    } == {"task": "mood", "epoch": 1, "loss": 0.75, "samples": 27, "samples_per_s": 9.0}
    assert stage_times(lines) == []
