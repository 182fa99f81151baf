"""The output of `umc status`: what summary.py stored, and what is read each time.

It is read without the modules that compute, which take seconds to import. So what is stored says
only what rounds gave: a change of the campaign file leaves it as it is.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

from rich.table import Table

from umc_ray.campaign.heartbeat import RunningStage, running_stage
from umc_ray.campaign.verify import check_files, lost_seals
from umc_ray.config.campaign import CampaignConfig
from umc_ray.console import counted
from umc_ray.errors import StoreError
from umc_ray.methods.identity import fingerprint
from umc_ray.report.ingest_report import ingest_lines
from umc_ray.storage import Storage

STATUS = "status.json"
COLUMNS = ("domain", "labels", "cost", "audit utility", "test utility", "uncertainty")
DOCUMENTS = (".json", ".parquet")

NOT_SHOWN = (STATUS, "bandit.json", "published.json")
"""What a run writes beside its rounds and that changes nothing here."""

OF_NEXT_ROUND = ("bandit.json", "refill.json")
"""What counts of a round that is not done: that it is done now, and what is planned for it."""


@dataclass(frozen=True)
class Status:
    """What a run directory said after some rounds, when it had a stamp; `rows` are by domain."""

    stamp: str
    rounds: int
    rows: dict[str, list[str]]
    lines: tuple[str, ...]


def read_status(config: CampaignConfig) -> Status | None:
    """Return the stored status; None if there is none, or something has changed since."""
    storage = Storage(config.run_root)
    if not storage.exists(STATUS):
        return None if storage.keys("pool") else Status("", 0, {}, ())
    try:
        status = storage.read_record(STATUS, Status)
    except StoreError:  # it was cut, or is of another version
        return None
    return status if status.stamp == stamp(storage, config, status.rounds) else None


def stamp(storage: Storage, config: CampaignConfig, rounds: int) -> str:
    """Return what changes with the documents that a stored status says more of.

    And with what decides whether there is another round, where a status says what it is to do.
    """
    after = f"rounds/{rounds + 1:04d}"
    files = {
        name: when
        for folder in ("", "rounds/0000", f"rounds/{rounds:04d}", after)
        for name, when in storage.stamps(folder).items()
        if name.endswith(OF_NEXT_ROUND if folder == after else DOCUMENTS) and name not in NOT_SHOWN
    }
    ends = [config.budget.labels, config.stop.model_dump(mode="json")]
    return fingerprint([version("umc_ray"), ends if config.refine.share == "auto" else [], files])


def status_table(config: CampaignConfig, status: Status) -> Table:
    """Return labels, cost and quality of each domain after the last round."""
    title = f"{config.name}: {counted(status.rounds, 'round')} done"
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "domain" else "right")
    for name, cells in status.rows.items():
        table.add_row(name, *cells)
    return table


def status_lines(config: CampaignConfig, status: Status) -> list[str]:
    """Say what rounds gave, how sources were read, and what the campaign does now."""
    read = ingest_lines(Storage(config.run_root), config)
    return [*status.lines, *read, *activity_lines(config, status.rounds)]


def activity_lines(config: CampaignConfig, rounds: int) -> list[str]:
    """Describe what a campaign does now: what stops it, whom it waits for, the running stage."""
    storage, number = Storage(config.run_root), rounds + 1
    folder, lines = f"rounds/{number:04d}", _damage(storage)
    if storage.exists(f"{folder}/batch.parquet") and not storage.exists(f"{folder}/labels.parquet"):
        lines.append(f"round {number} waits for people: {_progress(config, number)}")
    stage = running_stage(storage)
    return lines if stage is None else [*lines, _stage_line(stage, time.time())]


def _damage(storage: Storage) -> list[str]:
    try:
        check_files(storage)
    except StoreError as error:
        return [str(error)]
    lost = lost_seals(storage)
    return [] if lost is None else [lost]


def _progress(config: CampaignConfig, number: int) -> str:
    # imported here because it takes 0.3 s, and most campaigns do not wait
    from umc_ray.campaign.answer_store import open_store

    try:
        with closing(open_store(config)) as store:
            done, questions = store.progress(config.name, number)
    except StoreError as error:
        return str(error)
    return f"{done} of {questions} questions answered"


def _stage_line(stage: RunningStage, now: float) -> str:
    if stage.is_lost(now):
        seen = _local_time(stage.seen)
        return f"{stage.stage}: no heartbeat since {seen}; run the campaign again to resume it"
    elapsed = timedelta(seconds=max(0, int(now - stage.since)))
    return f"{stage.stage}: running since {_local_time(stage.since)}, for {elapsed}"


def _local_time(seconds: float) -> str:
    return time.strftime("%F %T", time.localtime(seconds))
