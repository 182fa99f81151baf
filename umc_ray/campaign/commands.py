"""The commands that correct a campaign: `umc relabel`, `umc forget`, `umc import`."""

# Ray takes seconds to import, so the commands import what they need themselves: see umc_ray/cli.py.

import getpass
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import print_line
from umc_ray.errors import DataError

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]
Domain = Annotated[str, typer.Argument(help="task/domain of the sample")]
Sample = Annotated[
    str, typer.Argument(help="its key, such as photos/1.png or texts.csv#12, or s123 of a sheet")
]
By = Annotated[str | None, typer.Option(help="who says so; default: your user name")]

SHOWN = 20


def relabel(campaign: Campaign, domain: Domain, sample: Sample, label: str, by: By = None) -> None:
    """Correct the label of a sample; it counts from the next round on."""
    from umc_ray.campaign import relabel as relabeling
    from umc_ray.campaign.run import Run
    from umc_ray.config.loading import load_campaign
    from umc_ray.records import DomainKey

    run = Run(load_campaign(campaign))
    with closing(run.store):
        domain_key = DomainKey.named(domain)
        found = relabeling.relabel(run, domain_key, sample, label, by or getpass.getuser())
    print_line(f"s{found} is {label}; the next round takes it over: umc run {campaign}")


def forget(
    campaign: Campaign,
    domain: Domain,
    samples: Annotated[list[str], typer.Argument(help="keys, or s123 as in a sheet")],
) -> None:
    """Delete samples from the pool, from training and from every later release."""
    from umc_ray.campaign import forget as forgetting
    from umc_ray.campaign.run import Run
    from umc_ray.config.loading import load_campaign
    from umc_ray.records import DomainKey

    run = Run(load_campaign(campaign))
    with closing(run.store):
        domain_key = DomainKey.named(domain)
        found = forgetting.forget(run, domain_key, samples)
    print_line(f"{len(found)} samples are forgotten; models forget them: umc run {campaign}")


def import_labels(
    campaign: Campaign,
    labels: Annotated[
        str,
        typer.Argument(
            help="table with the columns label, and key or sample_id; with several domains also "
            "domain; annotator and time (seconds since 1970) as far as they are known"
        ),
    ],
    by: By = None,
) -> None:
    """Take over labels that exist already, or that were given elsewhere."""
    from umc_ray.campaign import relabel as relabeling
    from umc_ray.campaign.run import Run
    from umc_ray.config.loading import load_campaign

    run = Run(load_campaign(campaign))
    with closing(run.store):
        found = relabeling.import_labels(run, labels, by or getpass.getuser())
    for line in found.bad[:SHOWN]:
        print_line(line)
    print_line(
        f"{found.rows} labels read, {found.new} new, {len(found.bad)} rows that cannot be used; "
        f"the next round takes them over: umc run {campaign}"
    )
    if found.bad:
        raise DataError(f"{len(found.bad)} rows of {labels} were left out, listed above")
