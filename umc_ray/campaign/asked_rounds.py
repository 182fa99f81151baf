"""Whether the store of answers and the rounds of a run directory belong together.

A store can be lost, emptied, put back from an older copy, or be that of another run. People would
be asked again then, and labels would count twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from umc_ray.annotation.asked import Asked, TaskSample, asked
from umc_ray.campaign.given import IMPORTED
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GIVEN, VALIDATION, RunState, round_folder
from umc_ray.console import counted, first_of
from umc_ray.errors import StoreError
from umc_ray.selection.labeled import labels_so_far

SHOWN = 5


@dataclass(frozen=True)
class AskedRound:
    """What a round's folder says: what people were asked, and whether all have answered."""

    samples: frozenset[TaskSample]
    is_closed: bool


def check_store(run: Run) -> None:
    """Compare the store with the rounds.

    Raises:
        StoreError: they do not belong together; the message says what to do.
    """
    rounds, found = asked_rounds(run), asked(run.store, run.config.name)
    check_origin(run, rounds, found)
    lost, unanswered = lost_samples(rounds, found), unanswered_samples(rounds, found)
    imported = [each for each in imported_samples(run) if each not in found]
    if lost or unanswered or imported:
        known = sum(len(each.samples) for each in rounds.values())
        rest = f"{len(lost)} of the {known} questions of its {counted(len(rounds), 'round')}"
        answers = f"answers to {counted(len(unanswered), 'question')} of closed rounds"
        labels = counted(len(imported), "imported label")
        parts = ((lost, rest), (imported, labels), (unanswered, answers))
        lacks = ", ".join(said for keys, said in parts if keys)
        raise StoreError(
            f"the store of answers of {run.config.name} lacks {lacks}: it "
            "was lost, emptied, or is an older copy. Put the right one back, or have umc "
            f"restore-answers rebuild what the rounds in {run.storage.root} know"
        )
    if missing := lost_labels(run, rounds, found):
        said = ", ".join(f"{key} of {counted(n, 'label')}" for key, n in missing.items())
        raise StoreError(
            f"files of {run.storage.root} lack labels whose answers are in the store: {said}. "
            "umc repair computes them again from the answers"
        )


def check_origin(
    run: Run, rounds: Mapping[int, AskedRound], found: Mapping[TaskSample, Asked]
) -> None:
    """Make sure that the store has no questions that the rounds do not know, or know otherwise.

    Raises:
        StoreError: it has some.
    """
    foreign = [
        (key, each.round)
        for key, each in found.items()
        if each.round > 0 and (each.round not in rounds or key not in rounds[each.round].samples)
    ]
    if foreign:
        (task, sample_id), number = min(foreign, key=lambda each: (each[1], each[0]))
        raise StoreError(
            f"the store of answers has {counted(len(foreign), 'question')} of {run.config.name} "
            f"that no round in {run.storage.root} asked, such as s{sample_id} of {task} in round "
            f"{number}: it is the store of another run of this name, or rounds were lost. Put the "
            "store or the run directory back that belongs to the other"
        )
    _check_imported(run, rounds, found)


def _check_imported(
    run: Run, rounds: Mapping[int, AskedRound], found: Mapping[TaskSample, Asked]
) -> None:
    """Refuse labels that were imported while the questions about their samples were lost."""
    imported = {key for key, each in found.items() if each.round == 0}
    strays = sorted(
        (number, *key)
        for number, each in rounds.items()
        for key in (imported & each.samples) - {*imported_samples(run)}
    )
    if strays:
        named = first_of([f"s{each[2]} of {each[1]} (round {each[0]})" for each in strays], SHOWN)
        raise StoreError(
            f"the store of answers of {run.config.name} has labels of {named} as imported ones, "
            "but rounds asked about them: it was begun anew after the right one was lost. Put the "
            "right one back; or move this one away, have umc restore-answers rebuild it, and give "
            "these labels again with umc relabel or umc import"
        )


def asked_rounds(run: RunState) -> dict[int, AskedRound]:
    """Return what each round asked people, from 1."""
    found: dict[int, AskedRound] = {}
    number = 1
    while run.storage.exists(f"{round_folder(number)}/batch.parquet"):
        folder = round_folder(number)
        samples = frozenset(
            each
            for name in ("batch.parquet", VALIDATION)
            for each in _samples(run, f"{folder}/{name}")
        )
        found[number] = AskedRound(samples, run.storage.exists(f"{folder}/labels.parquet"))
        number += 1
    return found


def lost_samples(
    rounds: Mapping[int, AskedRound], found: Mapping[TaskSample, Asked]
) -> list[TaskSample]:
    """Return what rounds asked and the store does not know.

    An open round is not looked at: the run asks what the store lacks of it.
    """
    return [
        key
        for each in rounds.values()
        if each.is_closed
        for key in each.samples
        if key not in found
    ]


def lost_labels(
    run: RunState, rounds: Mapping[int, AskedRound], found: Mapping[TaskSample, Asked]
) -> dict[str, int]:
    """Return how many labels that people gave are in no closed round, by the file they belong to.

    Samples that people validate are no part of it, and what came late is taken over by a later
    round.
    """
    folders = [round_folder(number) for number, each in rounds.items() if each.is_closed]
    labels = labels_so_far(run.storage, folders)
    known = {*zip(labels["task"].to_pylist(), labels["sample_id"].to_pylist(), strict=True)}
    lost = {
        f"{folder}/labels.parquet": sum(
            key in found and found[key].labeled and key not in known
            for key in _samples(run, f"{folder}/batch.parquet")
        )
        for folder in folders
    }
    return {key: number for key, number in lost.items() if number}


def unanswered_samples(
    rounds: Mapping[int, AskedRound], found: Mapping[TaskSample, Asked]
) -> list[TaskSample]:
    """Return the samples of closed rounds that are open in the store, or have lost answers."""
    return [
        key
        for each in rounds.values()
        if each.is_closed
        for key in each.samples
        if key in found and not (found[key].closed and found[key].whole)
    ]


def imported_samples(run: RunState) -> Iterator[TaskSample]:
    """Yield the samples whose label was imported, as round 0 knows them."""
    for row in _rows(run, f"{GIVEN}/batch.parquet", ["task", "sample_id", "why"]):
        if row["why"] == IMPORTED:
            yield str(row["task"]), int(str(row["sample_id"]))


def _samples(run: RunState, key: str) -> Iterator[TaskSample]:
    for row in _rows(run, key, ["task", "sample_id"]):
        yield str(row["task"]), int(str(row["sample_id"]))


def _rows(run: RunState, key: str, columns: list[str]) -> list[dict[str, object]]:
    if not run.storage.exists(key):
        return []
    rows: list[dict[str, object]] = run.storage.read_table(key, columns).to_pylist()
    return rows
