"""A campaign: bring the pool in, run rounds until a stop rule holds, publish the specialists."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from umc_ray.campaign.heartbeat import clear_heartbeat
from umc_ray.campaign.publish import PUBLISHED, publish_round, read_published, round_before
from umc_ray.campaign.round import run_round
from umc_ray.campaign.state import UNUSABLE, Run, round_folder
from umc_ray.cluster.connect import connect
from umc_ray.cluster.stream import OnRows
from umc_ray.config.campaign import CampaignConfig
from umc_ray.encoders.registry import encoder_hash
from umc_ray.errors import ConfigError, PoolExhausted, StoreError
from umc_ray.ingest.ingest import ingest, load_manifest
from umc_ray.passes.encode import encode
from umc_ray.records import DomainKey, Split
from umc_ray.selection.random_orders import make_random_orders
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

FREE = (
    "budget",
    "stop",
    "allocation",
    "selection",
    "near_duplicates",
    "annotation",
    "certificate",
    "placement",
    "storage",
)
"""Sections that may change while a campaign runs: they decide what comes, not what was done."""


@dataclass(frozen=True)
class Outcome:
    """How a campaign ended."""

    rounds: int
    reason: str
    new_rounds: int


def run_campaign(run: Run) -> Outcome:
    """Run a campaign to its end, from wherever it stands.

    Raises:
        Waiting: people have not answered everything yet; run it again later.
    """
    freeze(run)
    clear_heartbeat(run.storage)
    number = finished_rounds(run.storage)
    began = number
    _publish_missed(run, number)
    while (reason := stop_reason(run, number)) is None:
        if number == began:
            connect()
            bring_in(run)
            show(run, number)
        try:
            run_round(run, number + 1)
        except PoolExhausted as error:
            reason = str(error)
            break
        number += 1
        publish(run, number)
        show(run, number)
    run.stages.event("finished", reason=reason, rounds=number)
    return Outcome(number, reason, number - began)


def finished_rounds(storage: Storage) -> int:
    """Return how many rounds are done."""
    number = 0
    while storage.exists(f"{round_folder(number + 1)}/bandit.json"):
        number += 1
    return number


def round_metrics(storage: Storage, rounds: int) -> list[dict[str, Any]]:
    """Return the metrics of the first rounds, oldest first."""
    return [storage.read_json(f"{round_folder(i)}/metrics.json") for i in range(1, rounds + 1)]


def stop_reason(run: Run, rounds: int) -> str | None:
    """Say why a campaign is over after so many rounds, or None if it goes on."""
    if rounds == 0:
        return None
    spent = sum(each.round <= rounds for each in run.store.questions(run.config.name))
    if spent >= run.config.budget.labels:
        return f"the budget of {run.config.budget.labels} labels is spent"
    rules = run.config.stop
    metrics = round_metrics(run.storage, rounds)
    curve = [each["audit_accuracy"] or 0.0 for each in metrics]
    holds: dict[str, bool] = {}
    if rules.labels is not None:
        holds[f"{rules.labels} labels are there"] = metrics[-1]["labels"] >= rules.labels
    if rules.accuracy is not None:
        holds[f"audit accuracy reached {rules.accuracy}"] = curve[-1] >= rules.accuracy
    if rules.plateau is not None:
        stale = rounds - 1 - curve.index(max(curve))
        holds[f"no better audit accuracy in {rules.plateau} rounds"] = stale >= rules.plateau
    if not holds or not (any if rules.when == "any" else all)(holds.values()):
        return None
    return "; ".join(reason for reason, held in holds.items() if held)


def bring_in(run: Run) -> None:
    """Ingest and encode what is not in the run directory yet, such as a new domain."""
    for domain_key in run.config.domains():
        run.stages.step(f"ingest {domain_key}", partial(_ingest, run, domain_key))
    pools = [part for part in run.parts if part.split == "pool"]
    seed = run.config.seed
    run.stages.step(
        "random_orders", lambda _: make_random_orders(run.storage, pools, run.order_size, seed)
    )
    encoders = {name: task.encoder for name, task in run.config.tasks.items()}
    labels = run.config.placement.scoring
    rejected = run.stages.step(
        "encode",
        lambda on_rows: encode(encoders, run.parts, run.storage, on_rows, labels),
        rows=sum(part.rows for part in run.parts),
    )
    run.storage.write_json(UNUSABLE, rejected)
    _show_bad_rows(run, rejected)


def _show_bad_rows(run: Run, rejected: dict[str, list[int]]) -> None:
    for domain_key, domain in run.config.domains().items():
        splits: tuple[Split, ...] = ("pool",) if domain.test is None else ("pool", "test")
        unread = sum(load_manifest(run.storage, domain_key, split).bad for split in splits)
        run.metrics.quarantined(domain_key, unread + len(rejected.get(str(domain_key), [])))


def _ingest(run: Run, domain_key: DomainKey, on_rows: OnRows) -> int:
    rows = ingest(run.config, domain_key, "pool", run.storage, on_rows).rows
    if run.config.domains()[domain_key].test is not None:
        rows += ingest(run.config, domain_key, "test", run.storage, on_rows).rows
    return rows


def publish(run: Run, number: int, chosen: bool = False) -> None:
    """Name a round's specialists: what `umc score` and the endpoint use."""
    training = run.storage.read_json(f"{round_folder(number)}/training.json")
    refs = {name: EnsembleRef.from_json(each) for name, each in training["ensembles"].items()}
    certificates = training.get("certificates", {})  # rounds of an older release have none
    publish_round(run.storage, run.config, number, refs, certificates, chosen)


def republish(run: Run, number: int | None, back: bool) -> int:
    """Publish a round again: the one named, the one before the published one, or the newest.

    Raises:
        StoreError: there is no such round.
    """
    rounds = finished_rounds(run.storage)
    if number is None:
        number = round_before(run.storage) if back else rounds
    if not 1 <= number <= rounds:
        raise StoreError(f"no round {number} of {run.config.name} is done, there are {rounds}")
    publish(run, number, chosen=True)
    return number


def _publish_missed(run: Run, rounds: int) -> None:
    """Publish the newest round if its run was killed before that; what a person chose stays."""
    if run.storage.exists(PUBLISHED):
        manifest = read_published(run.storage)
        if manifest.chosen or manifest.round == rounds:
            return
    if rounds:
        publish(run, rounds)


def show(run: Run, number: int) -> None:
    """Put the results of the last round, if there is one, on the metrics endpoint."""
    if number:
        run.metrics.round(number, run.storage.read_json(f"{round_folder(number)}/metrics.json"))


def freeze(run: Run) -> None:
    """Bind the run directory to its configuration.

    Domains may be added and the sections in FREE may change; anything else would mix the results
    of two campaigns.

    Raises:
        ConfigError: names the first key that may not change.
    """
    now = _frozen(run.config)
    if run.storage.exists("campaign.json"):
        before = run.storage.read_json("campaign.json")
        for key, value in before.items():
            if now.get(key) != value:
                raise ConfigError(
                    f"{key} is {now.get(key)!r}, but {run.storage.root} was begun with {value!r}: "
                    "give the campaign another name, or change it back"
                )
    run.storage.write_json("campaign.json", now)


def _frozen(config: CampaignConfig) -> dict[str, Any]:
    """Return what decides the results, as flat keys."""
    values = dict(_flat(config.model_dump(exclude={*FREE, "tasks"})))
    for name, task in config.tasks.items():
        values[f"tasks.{name}.kind"] = task.kind
        values[f"tasks.{name}.labels"] = task.labels
        values[f"tasks.{name}.encoder"] = encoder_hash(task.encoder)
        for domain, columns in task.domains.items():
            mapping = columns.model_dump(include={"text", "image", "key", "label", "ratings"})
            values[f"tasks.{name}.domains.{domain}"] = mapping
    return values


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
