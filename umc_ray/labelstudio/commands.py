"""The commands of `umc labelstudio`."""

# Ray takes seconds to import, so the commands import what they need themselves: see umc_ray/cli.py.

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umc_ray.console import print_line

if TYPE_CHECKING:
    from umc_ray.campaign.run import Run
    from umc_ray.labelstudio.api import LabelStudio

app = typer.Typer(help="Collect annotations in Label Studio.", no_args_is_help=True)

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]
Url = Annotated[str, typer.Option(help="URL of Label Studio", envvar="LABEL_STUDIO_URL")]
Key = Annotated[
    str,
    typer.Option(help="personal access token", envvar="LABEL_STUDIO_API_KEY", show_default=False),
]
Endpoint = Annotated[
    str | None, typer.Option(help="URL of a running `umc serve`, for pre-labels; reads UMC_TOKEN")
]


def _open(campaign: Path, url: str, api_key: str) -> "tuple[Run, LabelStudio]":
    """Return the campaign's run and a connection to Label Studio."""
    from umc_ray.campaign.run import open_run
    from umc_ray.labelstudio.api import LabelStudio

    return open_run(campaign), LabelStudio(url, api_key)


@app.command()
def push(campaign: Campaign, url: Url, api_key: Key, endpoint: Endpoint = None) -> None:
    """Send a round's open questions to Label Studio, the most uncertain first."""
    from umc_ray.labelstudio import bridge

    run, server = _open(campaign, url, api_key)
    with server:
        print_line(f"{bridge.push(run, server)} new items: {url}")
        if endpoint is not None:
            bridge.connect(run, server, endpoint, os.environ.get("UMC_TOKEN", ""))


@app.command()
def pull(campaign: Campaign, url: Url, api_key: Key) -> None:
    """Import the annotations from Label Studio."""
    from umc_ray.labelstudio import bridge

    run, server = _open(campaign, url, api_key)
    with server:
        print_line(f"{bridge.pull(run, server)} new answers")


@app.command()
def sync(campaign: Campaign, url: Url, api_key: Key) -> None:
    """Import annotations until interrupted; webhooks make it immediate."""
    from umc_ray.labelstudio import bridge

    run, server = _open(campaign, url, api_key)
    with server, suppress(KeyboardInterrupt):
        for new in bridge.sync(run, server):
            if new:
                print_line(f"{new} new answers")
