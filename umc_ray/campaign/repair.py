"""Compute damaged files of a run directory again, as far as they follow from others.

What people were asked and the samples themselves follow from nothing else: they have to come back
from a backup. What is computed again is compared with its seal, so that one sees if it is the same.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa

from umc_ray.annotation.asked import asked
from umc_ray.campaign.asked_rounds import asked_rounds, lost_labels
from umc_ray.campaign.campaign import bring_in, publish
from umc_ray.campaign.documents import BanditUpdate, Training
from umc_ray.campaign.freeze import freeze
from umc_ray.campaign.given import write_given
from umc_ray.campaign.learning import learn, train
from umc_ray.campaign.past_rounds import remember_rounds
from umc_ray.campaign.publish import PUBLISHED
from umc_ray.campaign.round import collect
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import FAIRNESS, GAPS, REMARKED, RESCORED, round_folder
from umc_ray.campaign.verify import UNFINISHED, said, unfinished, verify
from umc_ray.campaign.writer import sole_writer
from umc_ray.cluster.connect import connect
from umc_ray.console import counted
from umc_ray.errors import StoreError
from umc_ray.records import DomainKey
from umc_ray.seals import FOLDER, Seal
from umc_ray.selection.allocator import batch_rewards
from umc_ray.storage import Storage

ROUND = r"rounds/(\d{4})/"

ANY_ROUND = re.compile(ROUND)
BEFORE_ROUNDS = re.compile(r"(features|random_orders|outputs|lower)/|unusable\.json|bandit\.json")
TRAINED = re.compile(rf"models/[^/]+/(\d{{4}})/|{ROUND}training\.json")
SCORED = re.compile(rf"{ROUND}((scores|top|heads)/|(scores|{RESCORED.split('.')[0]})\.json)")
SEEN = re.compile(rf"{ROUND}(gaps/|({FAIRNESS}|{GAPS}|{REMARKED}|metrics\.json)$)|clusters/")
LABELS = re.compile(rf"{ROUND}labels\.parquet")
REWARDS = re.compile(rf"{ROUND}bandit\.json")
PUBLICATION = re.compile(re.escape(PUBLISHED))

FOLLOWING = (BEFORE_ROUNDS, LABELS, REWARDS, TRAINED, SCORED, SEEN, PUBLICATION)
"""What follows from other files, by what computes it; the order is that of computing it again."""

UNKNOWN = Seal(-1, 0)
"""Of a damaged file that had no seal: what is computed again is not known to be the same."""


@dataclass(frozen=True)
class Repaired:
    """What was done.

    `same` files are computed again and as they were, `different` ones are not; `later` ones are
    computed when they are needed. Files without a seal that follow from nothing else can be read,
    and nothing says whether they are what was stored: `accepted` ones have a seal now, `unverified`
    ones do not.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    later: tuple[str, ...]
    accepted: tuple[str, ...]
    unverified: tuple[str, ...]


def can_be_computed(key: str) -> bool:
    """Whether a file follows from others."""
    return any(each.match(key) for each in FOLLOWING)


def repair(run: Run, accept: bool = False) -> Repaired:
    """Delete damaged files and those without a seal, and compute them again.

    With `accept`, files without a seal that can be read get one as they are instead.

    Raises:
        Busy: another process works on the run directory.
        StoreError: some do not follow from others; nothing is deleted then.
    """
    with sole_writer(run.storage):
        for key in run.storage.damaged_seals(""):  # what they were of has no seal then
            run.storage.delete_file(key)
        found = verify(run.storage)
        of_seals = f"{FOLDER}/"
        damaged = {key: why for key, why in found.damaged.items() if not key.startswith(of_seals)}
        damaged |= _without_labels(run, damaged)
        lost = {key: why for key, why in damaged.items() if not can_be_computed(key)}
        if lost:
            raise StoreError(
                f"files of {run.storage.root} follow from nothing else: {said(lost)}; copy them "
                "from a backup, then repair again. Nothing was changed"
            )
        unsealed = [key for key in found.unsealed if key not in damaged]
        again, rest = ([], unsealed) if accept else _sort_out(run, unsealed)
        if accept:
            run.storage.seal(rest)
        before = unfinished(run.storage)
        known = run.storage.seals("")
        before |= {key: run.storage.seal_now(key) for key in again if key not in before}
        before |= {key: known.get(key, UNKNOWN) for key in damaged if key not in before}
        if before:
            _compute_again(run, before)
        accepted, unverified = (rest, []) if accept else ([], rest)
        return _compared(before, run.storage.seals(""), tuple(accepted), tuple(unverified))


def _without_labels(run: Run, damaged: Iterable[str]) -> dict[str, str]:
    """Return the files that lack labels whose answers are in the store, if all can be read."""
    if any(key.startswith("rounds/") for key in damaged):
        return {}
    found = lost_labels(run, asked_rounds(run), asked(run.store, run.config.name))
    return {key: f"it lacks {counted(number, 'label')}" for key, number in found.items()}


def _sort_out(run: Run, unsealed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which files without a seal are computed again, and which nobody can verify.

    Those of a round that is not done are in neither: the run seals them. People choose what is
    published, and labels of a reopened round are not what they were.
    """
    finished = run.finished_rounds
    reopened = {*run.store.reopened_rounds(run.config.name)}
    again, rest = list[str](), list[str]()
    for key in unsealed:
        if any(number > finished for number in _rounds([key], ANY_ROUND, TRAINED)):
            continue
        is_fixed = PUBLICATION.match(key) or reopened & {*_rounds([key], LABELS)}
        (again if can_be_computed(key) and not is_fixed else rest).append(key)
    return again, rest


def _compared(
    before: Mapping[str, Seal], now: Mapping[str, Seal], *rest: tuple[str, ...]
) -> Repaired:
    same = tuple(key for key in before if now.get(key) == before[key])
    different = tuple(key for key in before if key in now and key not in same)
    later = tuple(key for key in before if key not in now)
    return Repaired(same, different, later, *rest)


def _compute_again(run: Run, before: Mapping[str, Seal]) -> None:
    """Delete files and compute them; if that is interrupted, the next repair knows of them."""
    damaged = list(before)
    freeze(run)
    connect()
    journal = {key: [seal.size, seal.checksum] for key, seal in before.items()}
    run.storage.write_json(UNFINISHED, journal)
    for key in damaged:
        run.storage.delete_file(key)
    _compute(run, damaged)
    run.storage.delete_file(UNFINISHED)


def _compute(run: Run, damaged: list[str]) -> None:
    bring_in(run)
    for number in _rounds(damaged, LABELS):
        _collect_again(run, number)
    for number in _rounds(damaged, REWARDS):
        _reward_again(run, number)
    remember_rounds(run)
    for number in _rounds(damaged, TRAINED):
        _train_again(run, number)
    for number in sorted({*_rounds(damaged, TRAINED, SCORED, SEEN), *_of_clusters(run, damaged)}):
        _learn_again(run, number, damaged)
    if PUBLISHED in damaged:
        publish(run, run.finished_rounds)


def _rounds(damaged: Iterable[str], *kinds: re.Pattern[str]) -> list[int]:
    """Return the rounds whose files of some kinds are damaged, oldest first."""
    matches = [kind.match(key) for key in damaged for kind in kinds]
    numbers = [next(filter(None, match.groups()), None) for match in matches if match]
    return sorted({int(number) for number in numbers if number is not None})


def _of_clusters(run: Run, damaged: Iterable[str]) -> list[int]:
    """Return the last round where clusters are damaged: it looks for them again."""
    there = any(key.startswith("clusters/") for key in damaged)
    return [run.finished_rounds] if there and run.finished_rounds else []


def _collect_again(run: Run, number: int) -> None:
    if number == 0:  # labels that came with the sources, or were imported
        write_given(run)
        return
    batch = run.storage.read_table(f"{round_folder(number)}/batch.parquet")
    key = f"{round_folder(number)}/labels.parquet"
    run.stages.run(key, pa.Table, lambda _: collect(run, number, batch))


def _train_again(run: Run, number: int) -> None:
    """Train all specialists of a round: their files belong together."""
    folders = [f"models/{task}/{number:04d}" for task in run.config.tasks]
    run.storage.delete_file(f"{round_folder(number)}/training.json")
    for folder in folders:
        run.storage.delete(folder)
    key = f"{round_folder(number)}/training.json"
    run.stages.run(key, Training, lambda _: train(run, number), writes=folders)


def _learn_again(run: Run, number: int, damaged: list[str]) -> None:
    """Repeat the stages of a round that say what was computed."""
    if number in _rounds(damaged, SCORED):
        _delete_in(run.storage, number, ["scores.json"])
        for name in ("scores", "top"):  # a pass skips the parts that have scores
            run.storage.delete(f"{round_folder(number)}/{name}")
    if number in _rounds(damaged, SEEN) or number in _of_clusters(run, damaged):
        _delete_in(run.storage, number, [GAPS, "metrics.json"])
    ahead = int(run.config.annotation.overlap)  # the next round had been asked already
    past = replace(run, asked_until=number + ahead)
    with closing(past.store):
        learn(past, number)


def _delete_in(storage: Storage, number: int, names: Iterable[str]) -> None:
    for name in names:
        storage.delete_file(f"{round_folder(number)}/{name}")


def _reward_again(run: Run, number: int) -> None:
    """Store again what the allocator was told; it remembers that already."""
    folder = round_folder(number)
    batch = run.storage.read_table(f"{folder}/batch.parquet")
    labels = run.storage.read_table(f"{folder}/labels.parquet")
    domains: list[DomainKey] = list(run.config.domains())
    run.stages.run(
        f"{folder}/bandit.json",
        BanditUpdate,
        lambda _: BanditUpdate(batch_rewards(batch, labels, domains, run.kinds)),
    )
