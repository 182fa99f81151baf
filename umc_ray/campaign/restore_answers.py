"""Rebuild a lost store of answers from what the rounds of a run directory know.

Rounds know what people were asked, and one label per sample. Who answered what, times, remarks and
accounts are lost: the label that was agreed on stands as the answer of as many people as had voted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from umc_ray.annotation.asked import TaskSample, asked, open_again
from umc_ray.annotation.changes import client_key
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import by_sample, decide
from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.answer_store import make_store
from umc_ray.campaign.asked_rounds import (
    asked_rounds,
    check_origin,
    imported_samples,
    lost_samples,
    unanswered_samples,
)
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GIVEN, REMARKED, VALIDATION, round_folder
from umc_ray.campaign.synthetic import STANDING, questions_to_validate
from umc_ray.campaign.writer import sole_writer
from umc_ray.console import counted
from umc_ray.records import BATCH
from umc_ray.selection.labeled import labels_so_far

WHO, WHY = "restored", "restored from the rounds"


@dataclass(frozen=True)
class Restored:
    """How many questions and answers are in the store again."""

    questions: int
    answers: int


@dataclass(frozen=True)
class _Known:
    """What rounds know of a sample: its label, or that nobody could give one, and the votes."""

    label: str | None
    votes: int
    outvoted: int = 0


def restore_answers(run: Run) -> Restored:
    """Add to the store what it lacks of closed rounds; what is there stays.

    Raises:
        Busy: another process works on the run directory.
        StoreError: the store is that of another run.
    """
    with sole_writer(run.storage):
        make_store(run.config).close()
        rounds, name = asked_rounds(run), run.config.name
        found = asked(run.store, name)
        check_origin(run, rounds, found)
        whole = {key for key, each in found.items() if each.closed and each.whole}
        known, questions, answers = _known(run, len(rounds)), 0, 0
        closed = [number for number, each in rounds.items() if each.is_closed]
        for number in [0, *closed]:
            lost = [
                each for each in _questions(run, number) if (each.task, each.sample_id) not in whole
            ]
            questions += run.store.submit(lost)
            open_again(run.store, [each.key for each in lost])
            answers += _answer(run, lost, known)
            run.store.close_round(name, number)
        return Restored(questions, answers)


def not_restored(run: Run) -> list[str]:
    """Say what of the answers that the store lacks nothing outside it knows.

    Raises:
        StoreError: the store is that of another run.
    """
    make_store(run.config).close()
    rounds, found = asked_rounds(run), asked(run.store, run.config.name)
    check_origin(run, rounds, found)
    lost = {*lost_samples(rounds, found), *unanswered_samples(rounds, found)}
    if not lost:
        return []
    known, closed = _known(run, len(rounds)), _closed(run, len(rounds))
    votes = sum(known[key].votes for key in lost & known.keys())
    outvoted = sum(known[key].outvoted for key in lost & known.keys())
    lines = [
        f"who gave {counted(votes, 'answer')}, and when; {outvoted} said something else than the "
        "label, which takes their place",
        f"what people changed after round {closed} had learned its labels: nothing but the store "
        "knows whether and where they did",
    ]
    if run.storage.exists(key := f"{round_folder(closed)}/{REMARKED}"):
        remarks = run.storage.count_rows(key)
        lines.append(f"{counted(remarks, 'flag')} and notes: {key} has them, without names")
    if run.config.annotation.backend == "web":
        lines.append("accounts of the page: umc account makes them again")
    return lines


def _questions(run: Run, number: int) -> list[Question]:
    """Return what people were asked in a round, without what models predicted."""
    if number == 0:
        return _imported(run)
    folder = round_folder(number)
    batch = run.storage.read_table(f"{folder}/batch.parquet")
    validation = BATCH.empty_table()
    if run.storage.exists(f"{folder}/{VALIDATION}"):
        validation = run.storage.read_table(f"{folder}/{VALIDATION}")
    of_pool = batch_questions(run.config, number, batch, [None] * len(batch))
    return [*of_pool, *questions_to_validate(run, number, validation)]


def _imported(run: Run) -> list[Question]:
    if not run.has_given_labels:
        return []
    rows = run.storage.read_table(f"{GIVEN}/batch.parquet").to_pylist()
    domains = {(row["task"], row["sample_id"]): row["domain"] for row in rows}
    name = run.config.name
    return [
        Question(name, 0, task, domains[task, sample_id], sample_id, why="imported")
        for task, sample_id in imported_samples(run)
    ]


def _known(run: Run, rounds: int) -> dict[TaskSample, _Known]:
    """Return the labels as they are now: corrected ones, and those of synthetic samples."""
    tables = [labels_so_far(run.storage, run.folders(_closed(run, rounds)))]
    if rounds and run.storage.exists(key := f"{round_folder(_closed(run, rounds))}/{STANDING}"):
        tables.append(run.storage.read_table(key).select(tables[0].column_names))
    return {
        (row["task"], row["sample_id"]): _Known(row["label"], row["votes"], _outvoted(row))
        for table in tables
        for row in table.to_pylist()
    }


def _outvoted(row: Mapping[str, Any]) -> int:
    """Return how many answers to a sample were not the label that was agreed on."""
    others: float = row["votes"] * (1 - row.get("agreement", 1.0))
    return round(others)


def _closed(run: Run, rounds: int) -> int:
    return sum(
        run.storage.exists(f"{round_folder(number)}/labels.parquet")
        for number in range(1, rounds + 1)
    )


def _answer(run: Run, questions: Sequence[Question], known: Mapping[TaskSample, _Known]) -> int:
    """Store the answers that are missing; returns how many."""
    there = by_sample(run.store.answers(run.config.name))
    new = [answer for each in questions for answer in _missing(each, known, there.get(each.key))]
    recorded = run.store.record(new, [client_key(each, 0.0) for each in new])
    for question in questions:
        label = known.get((question.task, question.sample_id), _Known(None, 0)).label
        said = {answer.label for answer in there.get(question.key, ())}
        if said - {label}:  # an older copy has answers that others have outvoted since
            decision = question.answered(WHO, label)
            decide(run.store, decision, client_key(decision, 1.0))
    return recorded


def _missing(
    question: Question, known: Mapping[TaskSample, _Known], there: Sequence[Answer] | None
) -> Iterator[Answer]:
    found = known.get((question.task, question.sample_id), _Known(None, 0))
    votes = max(found.votes, question.votes, 1)
    for number in range(len(there or ()) + 1, votes + 1):
        yield replace(question.answered(f"{WHO}-{number}", found.label), reason=WHY)
