"""The commands `umc check`, `umc plan`, `umc control`, `umc report` and `umc status`."""

# Ray takes seconds to import, so the commands import what they need themselves: see umc_ray/cli.py.

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import ProgressDisplay, console, counted, print_line
from umc_ray.errors import ConfigError

DEFAULT_TARGET = 0.9

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]

Sheet = Annotated[
    Path | None,
    typer.Option(
        help="PNG file for what the encoders see of images; default: beside the campaign file"
    ),
]


def check(
    campaign: Campaign,
    read_all: Annotated[
        bool, typer.Option("--all", help="read everything, not only a sample")
    ] = False,
    contact_sheet: Sheet = None,
) -> None:
    """Read a campaign's data and try its encoders, without running anything."""
    from umc_ray.campaign.check import check_campaign
    from umc_ray.campaign.frozen import check_frozen
    from umc_ray.config.loading import load_campaign
    from umc_ray.report import contact_sheet as sheets
    from umc_ray.report.check import check_lines
    from umc_ray.storage import Storage

    config = load_campaign(campaign)
    check_frozen(Storage(config.run_root), config)
    with ProgressDisplay() as progress:
        found = check_campaign(config, read_all, progress)
    for line in check_lines(found, config):
        print_line(line)
    sheet = sheets.contact_sheet(found, config)
    if sheet is not None:
        path = contact_sheet or campaign.with_name(f"{campaign.stem}-images.png")
        sheets.write_contact_sheet(sheet, path)
        print_line(f"what the encoders see: {path}")
    if found.problems:
        problems = counted(len(found.problems), "problem")
        raise ConfigError(f"{config.name} cannot run: {problems}, listed above")
    print_line(f"{config.name} can run: umc run {campaign}")


def plan(
    campaign: Campaign,
    accuracy: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1, help="accuracy to reach; default: of the stop rule, else 0.9"
        ),
    ] = None,
) -> None:
    """Estimate how many labels an accuracy takes, from the learning curve so far."""
    from umc_ray.campaign.history import History
    from umc_ray.campaign.run import open_run
    from umc_ray.report.plan import plan_notes, plan_table, plans

    run = open_run(campaign)
    target = accuracy or run.config.stop.accuracy or DEFAULT_TARGET
    found = plans(History.of(run), target)
    console.print(plan_table(found, target))
    for line in plan_notes(found):
        print_line(line)


def control(
    campaign: Campaign,
    seeds: Annotated[
        int, typer.Option(min=1, help="number of controls; their seeds follow the campaign's")
    ] = 1,
    paired: Annotated[
        bool, typer.Option(help="run the campaign itself with each of these seeds, too")
    ] = False,
) -> None:
    """Run a campaign's random control: same samples, models and budget, nothing selected."""
    from umc_ray.campaign.campaign import run_campaign
    from umc_ray.campaign.control import check_answers, share_inputs, write_variants
    from umc_ray.campaign.run import Run, open_run
    from umc_ray.campaign.signals import StopOnSignal
    from umc_ray.config.loading import load_campaign

    runs = [open_run(campaign)]
    check_answers(runs[0].config)
    paths = write_variants(campaign, seeds, paired)
    with ProgressDisplay() as progress, StopOnSignal(progress) as listener:
        for path in paths:
            run = replace(Run(load_campaign(path)), listener=listener)
            share_inputs(run, runs)
            outcome = run_campaign(run)
            runs.append(run)
            print_line(f"{run.config.name}: {outcome.rounds} rounds, {outcome.reason}: {path}")
    print_line(f"compare: umc report {campaign}")


def report(
    campaign: Campaign,
    control: Annotated[
        list[Path] | None,
        typer.Option(help="campaign file of a run to compare with; default: all of `umc control`"),
    ] = None,
) -> None:
    """Write the report, one HTML file."""
    from umc_ray.campaign.control import find_variants
    from umc_ray.campaign.run import open_run
    from umc_ray.campaign.verify import lost_seals
    from umc_ray.campaign.verify_answers import store_damage
    from umc_ray.report.report import write_report

    run = open_run(campaign)
    if damage := store_damage(run.config):
        print_line(f"warning: the store of answers is not whole: {damage}")
    if lost := lost_seals(run.storage):
        print_line(f"warning: {lost}")
    given = [open_run(path) for path in control or ()]
    controls = given or find_variants(campaign, "control")
    print_line(write_report(run, controls, find_variants(campaign, "seed")))


def status(campaign: Campaign) -> None:
    """Show a campaign's results so far, and what it does now."""
    from umc_ray.campaign.frozen import check_frozen
    from umc_ray.config.loading import load_campaign
    from umc_ray.report.status import read_status, status_lines, status_table
    from umc_ray.storage import Storage

    config = load_campaign(campaign)
    check_frozen(Storage(config.run_root), config)
    current = read_status(config)
    if current is None:
        from umc_ray.report.summary import update_status

        current = update_status(config)
    console.print(status_table(config, current))
    for line in status_lines(config, current):
        print_line(line)
