"""Rename, merge and add labels of a task while its campaign runs.

Stored answers, labels and known labels follow, and the newest round is learned again. The campaign
file is edited: the new labels, and the old names as synonyms, so that sources and sheets that have
them are still understood. A call that was interrupted is repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from umc_ray.annotation.renaming import Rename, rename_labels
from umc_ray.campaign.asked_rounds import check_store
from umc_ray.campaign.frozen import FROZEN, check_frozen
from umc_ray.campaign.learning import forget_learning
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import GIVEN, LABEL_CHANGES, VALIDATION, round_folder
from umc_ray.campaign.writer import sole_writer
from umc_ray.config.loading import load_campaign
from umc_ray.config.yaml_file import write_values
from umc_ray.diversity.synthetic import synthetic_parts, table_key
from umc_ray.errors import ConfigError
from umc_ray.records import DomainKey, Split
from umc_ray.selection.labeled import corrections_key
from umc_ray.storage import Storage
from umc_ray.tasks.registry import task_kind


def change_labels(
    campaign: Path,
    task: str,
    renamed: Mapping[str, str],
    added: Sequence[str] = (),
    merges: bool = True,
) -> list[str]:
    """Rename labels, merge those that get the name of another, and add some; returns all labels.

    Raises:
        Busy: a run is at work.
        StoreError: the store of answers and the rounds do not belong together.
        ConfigError: there is no such task or label, the labels do not fit the kind, the run
            directory was begun with another campaign file, or the file cannot be edited.
        DataError: a sheet that is being filled in cannot be read.
    """
    run = Run(load_campaign(campaign))
    with sole_writer(run.storage):
        # A call that was interrupted has edited the file, so these labels may be other ones.
        check_frozen(run.storage, run.config, but=[f"tasks.{task}.labels"])
        check_store(run)
        before, after = _label_lists(run, task, renamed, added, merges)
        for number in _open_rounds(run):
            run.backend.collect(number)
        config = run.config.tasks[task]
        synonyms = {
            old: renamed.get(new, new)
            for old, new in {**config.synonyms, **renamed}.items()
            if old not in after
        }
        if (config.labels, config.synonyms) != (after, synonyms):
            write_values(campaign, ["tasks", task], {"labels": after, "synonyms": synonyms})
        if run.storage.exists(FROZEN) and before != after:
            _follow(Run(load_campaign(campaign)), task, after)
    return after


def _label_lists(
    run: Run, task: str, renamed: Mapping[str, str], added: Sequence[str], merges: bool
) -> tuple[list[str], list[str]]:
    """Return the labels of a task before and after a change."""
    if task not in run.config.tasks:
        raise ConfigError(f"no task {task}, the campaign has {', '.join(run.config.tasks)}")
    before = run.config.tasks[task].labels
    if run.storage.exists(FROZEN):
        before = run.storage.read_json(FROZEN).get(f"tasks.{task}.labels", before)
    unknown = [old for old in renamed if old not in before]
    if unknown:
        raise ConfigError(f"{task} has no label {unknown[0]!r}, only {', '.join(before)}")
    if again := [new for new in added if new in before]:
        raise ConfigError(f"{task} has a label {again[0]!r} already")
    there = [new for new in renamed.values() if new in before]
    if there and not merges:
        raise ConfigError(
            f"{task} has a label {there[0]!r} already; to make two one: umc labels merge"
        )
    _check_reused(task, run.config.tasks[task].synonyms, renamed, added)
    after = list(dict.fromkeys([*(renamed.get(each, each) for each in before), *added]))
    try:
        task_kind(run.config.tasks[task].kind, tuple(after))
    except ValueError as error:
        raise ConfigError(f"{task}: {error}") from error
    return before, after


def _check_reused(
    task: str, synonyms: Mapping[str, str], renamed: Mapping[str, str], added: Sequence[str]
) -> None:
    """Make sure that no old name gets another meaning: sheets and sources still have it.

    Raises:
        ConfigError: a new label is called as another one was.
    """
    origins = {
        new: {old for old, other in renamed.items() if other == new} for new in renamed.values()
    }
    for new in (*renamed.values(), *added):
        meant = synonyms.get(new)
        if meant is not None and meant not in origins.get(new, set()):
            raise ConfigError(
                f"{new!r} is an old name of {meant!r} in {task}, and sheets or sources may still "
                "have it in that sense; choose another name"
            )


def _open_rounds(run: Run) -> list[int]:
    """Return the rounds that are being answered."""
    rounds = {question.round for question in run.store.questions(run.config.name)}
    return sorted(each for each in rounds if each > run.finished_rounds)


def _follow(run: Run, task: str, after: list[str]) -> None:
    """Have all that is stored follow the labels as the campaign file has them now."""
    rename = run.kinds[task].parse
    for domain_key in (each for each in run.config.domains() if each.task == task):
        _rename_known(run.storage, domain_key, rename)
    folders = [GIVEN, *(round_folder(number) for number in range(1, run.finished_rounds + 2))]
    for folder in folders:
        for name in ("batch.parquet", VALIDATION):
            _rename_in(run.storage, f"{folder}/{name}", ("predicted",), rename, task)
        for key in (f"{folder}/labels.parquet", corrections_key(folder)):
            _rename_in(run.storage, key, ("label",), rename, task)
        _rename_in(run.storage, f"{folder}/near_duplicates.parquet", ("label",), rename, task)
    rename_labels(run.store, run.config.name, task, rename)
    number = run.finished_rounds
    run.storage.write_json(LABEL_CHANGES, {**run.label_changes(), task: number})
    run.storage.seal([LABEL_CHANGES])
    forget_learning(run, number)
    for each in _open_rounds(run):
        run.storage.delete_file(f"{round_folder(each)}/sheet.csv")  # the next run writes it anew
    frozen = run.storage.read_json(FROZEN)
    run.storage.write_json(FROZEN, {**frozen, f"tasks.{task}.labels": after})


def _rename_known(storage: Storage, domain_key: DomainKey, rename: Rename) -> None:
    """Rename the known labels of a domain, and those that synthetic samples were made for."""
    splits: tuple[Split, ...] = ("pool", "test", "synthetic")
    folders = [f"{table}/{split}/{domain_key}" for split in splits for table in ("oracle", "index")]
    keys = [key for folder in folders for key in storage.keys(folder)]
    made = [table_key(part) for part in synthetic_parts(storage, [domain_key])]
    for key in (*keys, *made):
        _rename_in(storage, key, ("label",), rename)


def _rename_in(
    storage: Storage, key: str, columns: Iterable[str], rename: Rename, task: str | None = None
) -> None:
    """Rename labels in columns of a table, if it exists; of one task, if one is named."""
    if not storage.exists(key):
        return
    table = storage.read_table(key)
    tasks = table["task"].to_pylist() if task is not None else [None] * len(table)
    for name in columns:
        texts = [
            rename(text) if text is not None and of_task == task else text
            for text, of_task in zip(table[name].to_pylist(), tasks, strict=True)
        ]
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(texts, pa.string()))
    storage.write_table(key, table)
