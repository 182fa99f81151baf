"""The commands that correct a campaign: `umc relabel`, `forget`, `import`, `labels`, `publish`."""

# Ray takes seconds to import, so the commands import what they need themselves: see umc_ray/cli.py.

import getpass
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from umc_ray.console import counted, first_of, print_line
from umc_ray.errors import ConfigError, DataError

Campaign = Annotated[Path, typer.Argument(help="the campaign's YAML file")]
Domain = Annotated[str, typer.Argument(help="task/domain of the sample")]
Sample = Annotated[
    str, typer.Argument(help="its key, such as photos/1.png or texts.csv#12, or s123 of a sheet")
]
By = Annotated[str | None, typer.Option(help="who says so; default: your user name")]

Task = Annotated[str, typer.Argument(help="the task whose labels change")]

SHOWN = 20

WRONG_EXIT = 1
"""Exit code of `umc verify` where files are damaged, of `umc repair` where some stay unverified."""

labels = typer.Typer(
    help="Change the labels of a task while its campaign runs; stored answers follow.",
    no_args_is_help=True,
)


def relabel(campaign: Campaign, domain: Domain, sample: Sample, label: str, by: By = None) -> None:
    """Correct the label of a sample; it counts from the next round on."""
    from umc_ray.campaign import relabel as relabeling
    from umc_ray.campaign.run import open_run
    from umc_ray.records import DomainKey

    run = open_run(campaign)
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
    from umc_ray.campaign.run import open_run
    from umc_ray.records import DomainKey

    run = open_run(campaign)
    with closing(run.store):
        domain_key = DomainKey.named(domain)
        found = forgetting.forget(run, domain_key, samples)
    print_line(
        f"forgotten: {counted(len(found), 'sample')}; models forget them: umc run {campaign}"
    )


def import_labels(
    campaign: Campaign,
    table: Annotated[
        str,
        typer.Argument(
            help="file with the columns label, and key or sample_id; with several domains also "
            "domain; annotator and time (seconds since 1970) as far as they are known"
        ),
    ],
    by: By = None,
    encoding: Annotated[
        str | None, typer.Option(help="of a CSV file, such as cp1252; default: UTF-8")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help='of a CSV file, such as ";"')] = None,
) -> None:
    """Take over labels that exist already, or that were given elsewhere."""
    from umc_ray.campaign import relabel as relabeling
    from umc_ray.campaign.run import open_run

    run = open_run(campaign)
    with closing(run.store):
        found = relabeling.import_labels(run, table, by or getpass.getuser(), encoding, delimiter)
    for line in found.bad[:SHOWN]:
        print_line(line)
    read = f"{found.rows} labels read, {found.new} new, {len(found.bad)} rows that cannot be used"
    print_line(f"{read}; the next round takes them over: umc run {campaign}" if found.new else read)
    if found.bad:
        raise DataError(f"{len(found.bad)} rows of {table} were left out, listed above")


def verify(campaign: Campaign) -> None:
    """Read all of a run directory and its store of answers, and compare what was stored."""
    from umc_ray.campaign.verify import verify as read_all
    from umc_ray.campaign.verify_answers import store_damage
    from umc_ray.config.loading import load_campaign
    from umc_ray.storage import Storage

    config = load_campaign(campaign)
    found = read_all(Storage(config.run_root))
    for key, why in found.damaged.items():
        print_line(f"damaged: {key}: {why}")
    answers = store_damage(config)
    if answers:
        print_line(f"store of answers: {answers}")
    if found.unsealed:
        print_line(
            f"{counted(len(found.unsealed), 'file')} without a seal, of an earlier version or "
            "unfinished: they can be read, and nothing says whether they are what was stored; "
            f"umc repair {campaign} computes again what follows from others, and names the rest"
        )
    whole = "is not whole" if answers else "is whole"
    files = counted(found.files, "file")
    print_line(f"{files} read, {len(found.damaged)} damaged; the store of answers {whole}")
    if found.damaged:
        print_line(f"compute again what follows from other files: umc repair {campaign}")
    if found.damaged or answers:
        raise typer.Exit(WRONG_EXIT)


def repair(
    campaign: Campaign,
    accept: Annotated[
        bool, typer.Option("--accept", help="seal files without a seal as they are, if readable")
    ] = False,
) -> None:
    """Compute damaged files of a run directory again, as far as they follow from others."""
    from umc_ray.campaign.repair import repair as compute_again
    from umc_ray.campaign.run import Run
    from umc_ray.config.loading import load_campaign

    run = Run(load_campaign(campaign))
    with closing(run.store):
        found = compute_again(run, accept)
    for keys, what in (
        (found.same, "computed again, as it was"),
        (found.different, "computed again, but not as it was"),
        (found.later, "deleted; it is computed when it is needed"),
    ):
        for key in keys:
            print_line(f"{key}: {what}")
    done = len(found.same) + len(found.different) + len(found.later)
    print_line(f"{counted(done, 'file')} repaired")
    if found.accepted:
        print_line(f"{counted(len(found.accepted), 'file')} had no seal and got one, unverified")
    if found.unverified:
        print_line(
            f"{counted(len(found.unverified), 'file')} without a seal cannot be computed again: "
            f"{first_of(found.unverified, SHOWN)}. Put a backup of seals/ back; or, if they are "
            f"right, seal them as they are: umc repair --accept {campaign}"
        )
    if found.different:
        print_line("what came after may rest on the files that were lost: look at the report")
    if found.different or found.unverified:
        raise typer.Exit(WRONG_EXIT)


def restore_answers(campaign: Campaign) -> None:
    """Rebuild a lost store of answers from what the rounds know: one label per sample."""
    from umc_ray.campaign import restore_answers as restoring
    from umc_ray.campaign.run import open_run

    run = open_run(campaign)
    lines = restoring.not_restored(run)
    with closing(run.store):
        for line in lines:
            print_line(f"not restored: {line}")
        found = restoring.restore_answers(run)
    print_line(
        f"{counted(found.questions, 'question')} and {counted(found.answers, 'answer')} of closed "
        f"rounds are in the store again; go on: umc run {campaign}"
    )


@labels.command()
def rename(campaign: Campaign, task: Task, old: str, new: str) -> None:
    """Give a label another name, which is not one of the labels."""
    _change(campaign, task, {old: new}, merges=False)


@labels.command()
def merge(
    campaign: Campaign,
    task: Task,
    old: Annotated[list[str], typer.Argument(help="the labels to merge")],
    into: Annotated[str, typer.Option(help="the label that they become, an old or a new one")],
) -> None:
    """Make several labels one."""
    renamed = {label: into for label in old if label != into}
    if not renamed:
        raise ConfigError(f"name a label to merge into {into!r} besides itself")
    _change(campaign, task, renamed)


@labels.command()
def add(campaign: Campaign, task: Task, new: Annotated[list[str], typer.Argument()]) -> None:
    """Add labels."""
    _change(campaign, task, {}, new)


@labels.command(name="of")
def labels_of(
    source: Annotated[str, typer.Argument(help="file or folder of a published dataset")],
    form: Annotated[
        str | None, typer.Option("--format", help="default: what the files show")
    ] = None,
    split: Annotated[str | None, typer.Option(help="default: train")] = None,
    task: Annotated[str | None, typer.Option(help="such as sst2 of glue")] = None,
) -> None:
    """Print the labels of a published dataset, as a line of a campaign file."""
    import yaml

    from umc_ray.config.source import Source
    from umc_ray.ingest.layouts import registry
    from umc_ray.ingest.layouts.layout import Asked

    named = Source(path=source, format=form, split=split, task=task)
    found = registry.labels_of(source, Asked("pool", named.format, named.split, named.task))
    line = yaml.safe_dump(list(found), default_flow_style=True, allow_unicode=True, width=10**9)
    print_line(f"labels: {line.strip()}")


def _change(
    campaign: Path,
    task: str,
    renamed: dict[str, str],
    added: Sequence[str] = (),
    merges: bool = True,
) -> None:
    from umc_ray.campaign.label_changes import change_labels

    found = change_labels(campaign, task, renamed, added, merges)
    print_line(
        f"the labels of {task} are {', '.join(found)}; start pages and endpoints again, "
        f"and go on: umc run {campaign}"
    )


def publish(
    campaign: Campaign,
    number: Annotated[
        int | None, typer.Option("--round", min=1, help="default: the latest")
    ] = None,
    rollback: Annotated[
        bool, typer.Option(help="publish the round before the current one")
    ] = False,
) -> None:
    """Choose the round to serve, until the next round finishes and is published."""
    from umc_ray.campaign.campaign import republish
    from umc_ray.campaign.run import open_run

    if rollback and number is not None:
        raise ConfigError("--round and --rollback name a round each: give one of them")
    run = open_run(campaign)
    print_line(f"round {republish(run, number, rollback)} is published")
