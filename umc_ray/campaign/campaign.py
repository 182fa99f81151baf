"""A campaign: bring the pool in, run rounds until a stop rule holds, publish the specialists."""

import logging
from dataclasses import dataclass
from functools import partial

from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.corrections import changed_labels
from umc_ray.campaign.documents import RoundMetrics, Training
from umc_ray.campaign.freeze import check_encoders, freeze
from umc_ray.campaign.given import write_given
from umc_ray.campaign.heartbeat import clear_heartbeat
from umc_ray.campaign.learning import learn, learn_again
from umc_ray.campaign.publish import PUBLISHED, publish_round, read_published, round_before
from umc_ray.campaign.robustness import check_shifts, measure_robustness
from umc_ray.campaign.round import run_round
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import score_new_parts
from umc_ray.campaign.state import UNUSABLE, round_folder
from umc_ray.campaign.stop_rules import stop_reason
from umc_ray.campaign.synthetic import bring_in_synthetic, standings_changed
from umc_ray.campaign.verify import check_files, lost_seals
from umc_ray.campaign.writer import sole_writer
from umc_ray.cluster.connect import connect
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import PoolExhausted, StoreError
from umc_ray.ingest.changes import files_read, shared_files
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.manifest import load_manifest
from umc_ray.passes.encode import encode
from umc_ray.passes.fit_encoders import fit_encoders
from umc_ray.records import DomainKey
from umc_ray.selection.labeled import labels_so_far
from umc_ray.selection.random_orders import make_random_orders
from umc_ray.specialists.fine_tuned import TUNINGS
from umc_ray.specialists.training import check_training_resources

INGESTED = ("pool", "oracle", "kept", "index", "sources")
"""Tables that ingest writes, and that are read again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a campaign ended."""

    rounds: int
    reason: str
    new_rounds: int


def run_campaign(run: Run) -> Outcome:
    """Run a campaign to its end, from wherever it stands.

    Raises:
        AwaitingAnnotations: people have not answered everything yet; run it again later.
        Busy: another process runs it.
    """
    with sole_writer(run.storage):
        return _run(run)


def _run(run: Run) -> Outcome:
    check_files(run.storage)
    if lost := lost_seals(run.storage):
        logger.warning(lost)
    freeze(run)
    check_store(run)
    clear_heartbeat(run.storage)
    number = began = run.finished_rounds
    again = number > 0 and _has_changed(run, number)
    if again:
        connect()
        bring_in(run)
        learn_again(run, number)
    _publish_missed(run, number, again)
    while (reason := stop_reason(run, number)) is None:
        if number == began:
            check_shifts(run)
            connect()
            bring_in(run)
            score_new_parts(run)
            if write_given(run) and not number:
                learn(run, 0)
            export_metrics(run, number)
        try:
            run_round(run, number + 1)
        except PoolExhausted as error:
            reason = str(error)
            break
        number += 1
        publish(run, number)
        export_metrics(run, number)
    measure_robustness(run, number)
    run.stages.event("finished", reason=reason, rounds=number)
    return Outcome(number, reason, number - began)


def _has_changed(run: Run, number: int) -> bool:
    """Whether the newest round must be learned again before the campaign goes on or ends.

    Otherwise the next round takes over what was corrected.
    """
    run.backend.look_again(number)
    if not run.is_learned(number):
        return True
    if stop_reason(run, number) is None:
        return False
    labels = labels_so_far(run.storage, run.folders(number))
    write_given(run)
    now = labels_so_far(run.storage, run.folders(number))
    if not now.equals(labels) or len(changed_labels(run, number, labels)) > 0:
        return True
    return standings_changed(run, number)


def bring_in(run: Run) -> None:
    """Bring in what is not in the run directory yet: all, a new domain, what sources gained.

    Before, training is refused that could not be done once people have labeled.
    """
    check_training_resources(run.config.training, run.config.placement.training)
    for task in run.config.tasks.values():
        for specialist in task.ensemble().values():
            if specialist.fine_tunes:
                TUNINGS[specialist.kind].check_installed()
    for domain_key in run.config.domains():
        run.stages.step(
            f"ingest {domain_key}",
            partial(_ingest, run, domain_key),
            writes=_of_ingest(run, domain_key),
        )
    encoders = {name: task.named_encoders for name, task in run.config.tasks.items()}
    fit_encoders(encoders, run.parts_now(), run.storage)
    run.forget_parts()
    _say_shared_files(run)
    seed = run.config.seed
    run.stages.step(
        "random_orders",
        lambda _: make_random_orders(run.storage, run.pools, run.order_size, seed),
        writes=["random_orders"],
    )
    labels = run.config.placement.scoring
    rejected = run.stages.step(
        "encode",
        lambda on_rows: encode(encoders, run.parts, run.storage, on_rows, labels),
        rows=sum(part.rows * len(encoders[part.domain_key.task]) for part in run.parts),
        writes=["features", "encoders"],
    )
    run.storage.write_json(UNUSABLE, rejected, if_new=True)
    run.storage.seal([UNUSABLE])
    bring_in_synthetic(run)
    _export_bad_rows(run, rejected)


def _of_ingest(run: Run, domain_key: DomainKey) -> list[str]:
    """Name the folders that ingesting a domain writes to."""
    splits = run.config.domains()[domain_key].splits
    return [f"{table}/{split}/{domain_key}" for table in INGESTED for split in splits]


def _say_shared_files(run: Run) -> None:
    domains = run.config.domains()
    files = {key: files_read(run.storage, "pool", key) for key in domains}
    for line in shared_files(domains, files):
        logger.warning(line)


def _export_bad_rows(run: Run, rejected: dict[str, list[int]]) -> None:
    for domain_key, domain in run.config.domains().items():
        unread = sum(load_manifest(run.storage, domain_key, split).bad for split in domain.splits)
        run.exporter.quarantined(domain_key, unread + len(rejected.get(str(domain_key), [])))


def _ingest(run: Run, domain_key: DomainKey, _: OnRows) -> int:
    follow = partial(run.stages.follow, f"ingest {domain_key}")
    splits = run.config.domains()[domain_key].splits
    return sum(ingest(run.config, domain_key, each, run.storage, follow).rows for each in splits)


def publish(run: Run, number: int, chosen: bool = False) -> None:
    """Publish a round's specialists: what `umc score` and the endpoint use."""
    training = run.storage.read_record(f"{round_folder(number)}/training.json", Training)
    publish_round(
        run.storage, run.config, number, training.ensembles, training.certificates, chosen
    )


def republish(run: Run, number: int | None, back: bool) -> int:
    """Publish a round again: the one named, the one before the published one, or the newest.

    Raises:
        StoreError: there is no such round, or its specialists do not know the labels as they are.
        ConfigError: the run directory was begun with another campaign file.
    """
    check_encoders(run)
    rounds = run.finished_rounds
    if number is None:
        number = round_before(run.storage) if back else rounds
    if not 1 <= number <= rounds:
        raise StoreError(f"no round {number} of {run.config.name} is done, there are {rounds}")
    for task, first in run.label_changes().items():
        if number < first:
            raise StoreError(
                f"round {number} of {run.config.name} has learned the labels of {task} as they "
                f"were before they changed: publish round {first} or a later one"
            )
    run.check_learned(number)
    publish(run, number, chosen=True)
    return number


def _publish_missed(run: Run, rounds: int, again: bool) -> None:
    """Publish the newest round if its run was killed before that; what a person chose stays.

    `again`: the round has other specialists now.
    """
    chosen = False
    if run.storage.exists(PUBLISHED):
        manifest = read_published(run.storage)
        chosen = manifest.chosen
        if manifest.round == rounds and not again:
            return
        if chosen and manifest.round != rounds:
            return
    if rounds:
        publish(run, rounds, chosen)


def export_metrics(run: Run, number: int) -> None:
    """Put the results of a round, if there is one, on the metrics endpoint."""
    if number:
        metrics = run.storage.read_record(f"{round_folder(number)}/metrics.json", RoundMetrics)
        run.exporter.round(number, metrics)
