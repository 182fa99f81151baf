"""The command `umc control`."""

# Ray takes seconds to import, so the command imports what it needs itself: see umc_ray/cli.py.

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import ProgressDisplay, print_line


def control(
    campaign: Annotated[Path, typer.Argument(help="the campaign's YAML file")],
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
    from umc_ray.campaign.run import Run
    from umc_ray.campaign.signals import StopOnSignal
    from umc_ray.config.loading import load_campaign

    runs = [Run(load_campaign(campaign))]
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
