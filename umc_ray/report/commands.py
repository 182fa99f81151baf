"""The command `umc check`."""

# Ray takes seconds to import, so the command imports what it needs itself: see umc_ray/cli.py.

from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import ProgressDisplay, counted, print_line
from umc_ray.errors import ConfigError

Sheet = Annotated[
    Path | None,
    typer.Option(
        help="PNG file for what the encoders see of images; default: beside the campaign file"
    ),
]


def check(
    campaign: Annotated[Path, typer.Argument(help="the campaign's YAML file")],
    read_all: Annotated[
        bool, typer.Option("--all", help="read everything, not only a sample")
    ] = False,
    contact_sheet: Sheet = None,
) -> None:
    """Read a campaign's data and try its encoders, without running anything."""
    from umc_ray.campaign.check import check_campaign
    from umc_ray.config.loading import load_campaign
    from umc_ray.report import contact_sheet as sheets
    from umc_ray.report.check import check_lines

    config = load_campaign(campaign)
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
