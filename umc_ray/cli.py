"""The command line, `umc`: each command is one call into the package."""

# Commands import what they need inside their functions: Ray and torch take seconds to import, and
# `umc --help` and mistyped commands must not wait for them.

import logging
import os
import sys
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from umc_ray.campaign import commands as campaign_commands
from umc_ray.console import ProgressDisplay, console, counted, print_line
from umc_ray.demo import commands as demo_commands
from umc_ray.errors import AwaitingAnnotations, Busy, ConfigError, Stopped, UmcError, message_of
from umc_ray.labelstudio import commands
from umc_ray.report import commands as report_commands

app = typer.Typer(
    help="Uncertainty-driven, model-assisted dataset curation on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(commands.app, name="labelstudio")

logger = logging.getLogger(__name__)

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]

Port = Annotated[int, typer.Option(min=1, max=65_535)]

WAITING_EXIT = 3
"""Exit code of a run that waits for annotations."""

STOPPED_EXIT = 4
"""Exit code of a run that was ended by a signal."""

BUSY_EXIT = 5
"""Exit code where another process works on the campaign."""


def _print_version(requested: bool) -> None:
    if requested:
        print_line(version("umc_ray"))
        raise typer.Exit


@app.callback()
def umc(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="show where an error was raised, in all processes")
    ] = False,
) -> None:
    """Take the options that come before a command."""
    if debug:
        logger.setLevel(logging.DEBUG)


@app.command()
def init(
    path: Annotated[Path, typer.Argument()] = Path("campaign.yaml"),
    kind: Annotated[str, typer.Option(help="of the task: what an answer is")] = "classification",
    sample: Annotated[
        bool, typer.Option("--sample", help="with real data to try it on: it runs as it is")
    ] = False,
) -> None:
    """Write a commented campaign file to start from."""
    if path.exists():
        raise ConfigError(f"{path} already exists; choose another file name")
    if sample:
        from umc_ray.demo.fetch import cache_dir
        from umc_ray.demo.samples import write_sample

        write_sample(kind, path, cache_dir())
        print_line(f"wrote {path}, with real data in sample/; start the campaign: umc run {path}")
        return
    from umc_ray.config.template import config_template

    path.write_text(config_template(kind), encoding="utf-8")
    print_line(f"wrote {path}; edit it, then start the campaign: umc run {path}")


app.command()(demo_commands.models)
app.command()(report_commands.check)
app.command()(campaign_commands.relabel)
app.command()(campaign_commands.forget)
app.command()(campaign_commands.verify)
app.command()(campaign_commands.repair)
app.command()(campaign_commands.restore_answers)
app.command(name="import")(campaign_commands.import_labels)
app.add_typer(campaign_commands.labels, name="labels")


@app.command()
def run(campaign: Campaign) -> None:
    """Run a campaign until it is finished or waits for annotations."""
    from umc_ray.campaign.campaign import run_campaign
    from umc_ray.campaign.run import Run
    from umc_ray.campaign.signals import StopOnSignal
    from umc_ray.config.loading import load_campaign
    from umc_ray.report.ingest_report import ingest_lines
    from umc_ray.report.status import status_table
    from umc_ray.report.summary import StatusKeeper, update_status

    config = load_campaign(campaign)
    run = Run(config)
    try:
        with (
            ProgressDisplay() as progress,
            StopOnSignal(StatusKeeper(config, progress)) as listener,
        ):
            outcome = run_campaign(replace(run, listener=listener))
    except AwaitingAnnotations:
        update_status(config)  # `umc status` reads it, again and again
        raise
    finally:
        for line in ingest_lines(run.storage, config):
            print_line(line)
    current = update_status(config)
    if outcome.new_rounds == 0:
        print_line(f"nothing to do: {outcome.reason} after {counted(outcome.rounds, 'round')}")
    else:
        console.print(status_table(config, current))
        print_line(f"finished: {outcome.reason}")


@app.command(name="discover")
def discover_command(
    campaign: Campaign,
    domain: Annotated[str, typer.Argument(help="task/domain whose pool to split")],
    clusters: Annotated[
        int | None,
        typer.Option(min=2, help="number of domains; default: estimated from the embeddings"),
    ] = None,
) -> None:
    """Split a mixed pool into domains; data added later goes to the same domains."""
    from umc_ray.campaign.discover import discover
    from umc_ray.campaign.run import Run
    from umc_ray.cluster.connect import connect
    from umc_ray.config.loading import load_campaign
    from umc_ray.records import DomainKey

    run = Run(load_campaign(campaign))  # its domains are going to be others
    connect()
    with ProgressDisplay() as listener:
        result = discover(replace(run, listener=listener), DomainKey.named(domain), clusters)
    print_line(result.yaml)
    how = "as discovered before" if result.known else "discovered"
    domains = counted(len(result.domains), "domain")
    print_line(f"{domains}, {how}; copy into the campaign file: {result.path}")


app.command()(report_commands.status)


@app.command()
def score(
    campaign: Campaign,
    source: Annotated[str, typer.Argument(help="files, glob or folder; local or s3://")],
    output: Annotated[str, typer.Option(help="folder for the scores, as Parquet")],
    domain: Annotated[str, typer.Option(help="task/domain with the same columns as the data")],
    endpoint: Annotated[
        str | None, typer.Option(help="URL of a running `umc serve`; reads UMC_TOKEN")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="add a column probability_LABEL for each label")
    ] = False,
) -> None:
    """Score new data with the published specialists, locally or through an endpoint."""
    from umc_ray.bulk_scoring import score_by_endpoint, score_new
    from umc_ray.campaign.run import open_run
    from umc_ray.client import Client
    from umc_ray.cluster.connect import connect
    from umc_ray.records import DomainKey

    run, domain_key = open_run(campaign), DomainKey.named(domain)
    connect()
    with ProgressDisplay() as listener:
        run = replace(run, listener=listener)
        if endpoint is None:
            manifest = score_new(run, source, domain_key, output, probabilities)
        else:
            with Client(endpoint, os.environ.get("UMC_TOKEN")) as client:
                manifest = score_by_endpoint(client, run, source, domain_key, output, probabilities)
    samples = counted(manifest.rows + manifest.duplicates, "sample")
    print_line(f"{samples} scored, {counted(manifest.bad, 'row')} in quarantine: {output}")


@app.command()
def serve(
    campaigns: Annotated[list[Path], typer.Argument(help="the campaigns' YAML files")],
    host: Annotated[str, typer.Option(help="other than loopback requires --tokens")] = "127.0.0.1",
    port: Port = 8000,
    tokens: Annotated[
        Path | None,
        typer.Option(help="file with one `score TOKEN` or `admin TOKEN` per line"),
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="processes per campaign")] = 1,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs per process")] = 1,
    under_overload: Annotated[
        Literal["refuse", "heads"],
        typer.Option(help="refuse: with 503; heads: leave fine-tuned specialists out"),
    ] = "refuse",
    image_host: Annotated[
        list[str] | None, typer.Option(help="host that image_url may point to")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="folder or s3:// prefix that reference may point into")
    ] = None,
    haproxy: Annotated[
        bool,
        typer.Option(help="use HAProxy instead of Serve's proxy: faster; opens two metrics ports"),
    ] = False,
) -> None:
    """Serve scores from the published round over HTTP, until interrupted."""
    from umc_ray.campaign.run import open_run
    from umc_ray.campaign.signals import wait_for_signal
    from umc_ray.cluster.connect import connect
    from umc_ray.serving.deployment import start
    from umc_ray.serving.haproxy import haproxy_settings
    from umc_ray.serving.ports import authority
    from umc_ray.serving.settings import ServingConfig

    for path in campaigns:
        open_run(path)  # what cannot be served is refused before anything starts
    settings = [
        ServingConfig(
            campaign=path,
            tokens=tokens,
            replicas=replicas,
            cpus=cpus,
            under_overload=under_overload,
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
            print_line(f"http://{authority(host, port)}{route.rstrip('/')}/docs")
        wait_for_signal()


@app.command()
def annotate(
    campaign: Campaign,
    host: Annotated[
        str, typer.Option(help="other than loopback: put a TLS proxy in front of it")
    ] = "127.0.0.1",
    port: Port = 8100,
) -> None:
    """Serve the annotation page of a campaign, until interrupted."""
    from umc_ray.campaign.run import open_run
    from umc_ray.web.server import serve_page

    serve_page(open_run(campaign), host, port)


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
    """Create an account on the annotation page, or change its password and role."""
    from umc_ray.campaign.answer_store import open_store
    from umc_ray.config.loading import load_campaign
    from umc_ray.web.accounts import set_account

    with closing(open_store(load_campaign(campaign))) as store:
        set_account(store, name, role, password)
    print_line(f"account {name} has role {role}; start the page: umc annotate {campaign}")


app.command()(campaign_commands.publish)
app.command()(report_commands.plan)
app.command()(report_commands.control)
app.command()(report_commands.report)


@app.command()
def release(
    campaign: Campaign,
    version: Annotated[str | None, typer.Option(help="default: the next of v1, v2, ...")] = None,
    synthetic: Annotated[
        bool | None,
        typer.Option(
            "--synthetic/--no-synthetic",
            help="with or without synthetic samples; default: as release.synthetic says",
        ),
    ] = None,
) -> None:
    """Write the curated dataset with its card and provenance."""
    from umc_ray.campaign.run import open_run
    from umc_ray.campaign.verify_answers import check_answers
    from umc_ray.release.export import write_release

    run = open_run(campaign)
    check_answers(run)
    print_line(write_release(run, version, synthetic))


app.command()(demo_commands.demo)


def main() -> None:
    """Run a command; print errors that a user can cause as one line, and exit with their code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (AwaitingAnnotations, Stopped) as message:
        print_line(message)
        sys.exit(STOPPED_EXIT if isinstance(message, Stopped) else WAITING_EXIT)
    except UmcError as error:
        console.print("error:", style="red", end=" ")
        print_line(message_of(error))
        logger.debug("raised here", exc_info=error)
        sys.exit(BUSY_EXIT if isinstance(error, Busy) else 1)


if __name__ == "__main__":
    main()
