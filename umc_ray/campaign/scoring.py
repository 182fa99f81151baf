"""Score the pools and the tests with the newest specialists.

Fine-tuned specialists read the samples themselves, which takes a pool hundreds of times as long as
heads on cached embeddings. With `training.rescore: candidates`, heads score the pools first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from umc_ray.campaign.documents import Rescored, RescoredPool, Training
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import RESCORED, round_folder
from umc_ray.cluster.stream import OnRows
from umc_ray.passes.encode import encode_all
from umc_ray.passes.outputs import TunedEncoding, tuned_encodings
from umc_ray.passes.rescore import (
    RescoreWorker,
    find_by_heads,
    rescore,
    rescored_rows,
    rows_to_rescore,
)
from umc_ray.passes.score import PoolScores, ScoreWorker, score_parts
from umc_ray.records import DomainKey, IntArray, Part
from umc_ray.selection.batch import most_informative, not_in
from umc_ray.selection.labeled import labels_so_far, of_domain
from umc_ray.selection.near_duplicates import with_near_duplicates
from umc_ray.selection.random_orders import AUDIT, RANDOM, order_of, random_orders_key
from umc_ray.specialists.ensemble import OUTPUTS, EnsembleRef

PLACE = ["part", "row", "sample_id"]

Encodings = dict[tuple[str, str], TunedEncoding]
"""Of fine-tuned specialists, by task and name."""


def not_to_choose(run: Run, rounds: int) -> dict[DomainKey, IntArray]:
    """Return all samples that are not to be chosen after some rounds, by domain."""
    rules = run.config.near_duplicates
    return with_near_duplicates(run.storage, run.folders(rounds), run.excluded(), rules)


def score_pool(run: Run, number: int, training: Training, on_rows: OnRows) -> PoolScores:
    """Score all pools and tests with the newest specialists."""
    parts = [part for part in run.parts if part.domain_key.task in training.ensembles]
    worker = _score_worker(run, number, training)
    return score_parts(worker, parts, on_rows, run.config.placement.scoring)


def _score_worker(run: Run, number: int, training: Training) -> ScoreWorker:
    return ScoreWorker(
        storage=run.storage,
        table=round_folder(number),
        ensembles=training.ensembles,
        kinds=run.kinds,
        features=run.features,
        excluded=not_to_choose(run, number),
        acquisition=run.config.selection.acquisition,
        top=run.config.selection.candidates_per_label * run.config.budget.per_round,
        heads_first=_heads_first(training.ensembles),
        by_group={
            key: floor.names
            for key in run.config.domains()
            if (floor := run.group_floor(key)) is not None
        },
        groups=run.config.groups_with_thresholds(),
    )


def _heads_first(ensembles: Mapping[str, EnsembleRef]) -> frozenset[str]:
    """Return the tasks whose pools heads score first."""
    return frozenset(task for task, ref in ensembles.items() if ref.heads_first)


def score_new_parts(run: Run) -> None:
    """Let the newest specialists score what has joined the pools of their domains since."""
    number = run.newest(run.finished_rounds + 2)
    training, scores = run.training(number + 1), run.scores(number + 1)
    if training is None or scores is None:
        return
    parts = [part for part in run.parts if str(part.domain_key) in scores.domains]
    if sum(part.rows for part in parts if part.split == "pool") == sum(
        each.rows for each in scores.domains.values()
    ):
        return
    worker = _score_worker(run, number, training)
    labels = run.config.placement.scoring
    compute_tuned_outputs(run, number, training)
    folder = round_folder(number)
    after = run.stages.step(
        "score new samples",
        lambda on_rows: score_parts(worker, parts, on_rows, labels),
        writes=[f"{folder}/scores", f"{folder}/top"],
    )
    run.storage.write_record(f"{round_folder(number)}/scores.json", after)


def compute_tuned_outputs(run: Run, number: int, training: Training) -> None:
    """Compute the outputs of fine-tuned specialists, if there are any, for all samples."""
    tuned = {task: ref for task, ref in training.ensembles.items() if ref.tuned}
    if not tuned:
        return
    parts = [part for part in (*run.parts, *run.synthetic) if part.domain_key.task in tuned]
    encodings = tuned_encodings(tuned, run.config.tasks, parts, run.storage)
    first = _heads_first(training.ensembles)
    whole = {key: each for key, each in encodings.items() if key[0] not in first}
    if whole:
        labels = run.config.placement.scoring
        run.stages.step(
            "outputs",
            lambda on_rows: encode_all(whole, parts, run.storage, on_rows, labels),
            rows=sum(part.rows for task, _ in whole for part in parts if _is_of(part, task)),
        )
    if first:
        some = {key: each for key, each in encodings.items() if key[0] in first}
        _rescore(run, number, training, some)


def _is_of(part: Part, task: str) -> bool:
    return part.domain_key.task == task


def _rescore(run: Run, number: int, training: Training, encodings: Encodings) -> None:
    """Have fine-tuned specialists score what heads find informative, and say how much that was."""
    labels = run.config.placement.scoring
    tasks = sorted({task for task, _ in encodings})
    parts = [part for part in (*run.parts, *run.synthetic) if part.domain_key.task in tasks]
    pools = [part for part in parts if part.split == "pool"]
    top = run.config.selection.rescored_per_label * run.config.budget.per_round
    heads = replace(_score_worker(run, number, training), top=top)
    table = run.stages.step(
        "candidates",
        lambda on_rows: find_by_heads(heads, pools, on_rows, labels),
        rows=sum(part.rows for part in pools),
    )
    wanted = _wanted(run, number, tasks, table, top)
    _compute_rows(run, number, encodings, parts, wanted)
    found = {
        task: RescoredPool(
            samples=sum(rescored_rows(encodings, p, run.storage) for p in pools if _is_of(p, task)),
            pool=sum(part.rows for part in pools if _is_of(part, task)),
        )
        for task in tasks
    }
    run.storage.write_record(f"{round_folder(number)}/{RESCORED}", Rescored(found))


def _compute_rows(
    run: Run,
    number: int,
    encodings: Encodings,
    parts: Sequence[Part],
    wanted: Mapping[Part, IntArray],
) -> None:
    """Compute the outputs of some rows of parts, and of all rows of those that are not wanted."""
    items = rows_to_rescore(encodings, parts, wanted, run.storage)
    outputs = {task: run.kinds[task].outputs for task, _ in encodings}
    worker = RescoreWorker(run.storage, encodings, outputs, f"{round_folder(number)}/rescored")
    if items:
        run.storage.unseal(OUTPUTS)  # workers add rows to files that are there
        run.stages.step(
            "outputs",
            lambda on_rows: rescore(worker, items, on_rows, run.config.placement.scoring),
            rows=sum(len(item.rows) for item in items),
        )


def compute_outputs_of_labels(run: Run, number: int, ensembles: Mapping[str, EnsembleRef]) -> None:
    """Compute what networks that may be kept say of a round's labels, where heads score first.

    Labels that people were asked for have their outputs already; those that came with sources may
    not have.
    """
    first = {task: ensembles[task] for task in _heads_first(ensembles)}
    if not first:
        return
    parts = [part for part in run.pools if part.domain_key.task in first]
    labels = labels_so_far(run.storage, run.folders(number))
    wanted: dict[Part, IntArray] = {}
    for key in (key for key in run.config.domains() if key.task in first):
        wanted |= _rows_by_part(run, key, [of_domain(labels, key)])
    encodings = tuned_encodings(first, run.config.tasks, parts, run.storage)
    _compute_rows(run, number, encodings, parts, wanted)


def _wanted(
    run: Run, number: int, tasks: Sequence[str], table: str, top: int
) -> dict[Part, IntArray]:
    """Return the rows of each part of a pool that fine-tuned specialists are to score.

    These are the candidates, what may be drawn at random next, and all that people were asked: what
    is asked next is chosen from what the whole ensemble has scored, and a network that is kept
    needs its outputs for the labels that come.
    """
    asked = [labels_so_far(run.storage, run.folders(number))]
    ahead = f"{round_folder(number + 1)}/batch.parquet"
    if run.storage.exists(ahead):
        asked.append(run.storage.read_table(ahead))
    excluded, taken = run.excluded(), not_to_choose(run, number)
    per_round = run.config.budget.per_round
    wanted: dict[Part, IntArray] = {}
    for key in (key for key in run.config.domains() if key.task in tasks):
        orders = run.storage.read_table(random_orders_key(key, run.order_size))
        places = [
            most_informative(run.storage, run.pool(key), table, taken[key], top),
            not_in(order_of(orders, AUDIT), excluded[key])[:per_round],
            not_in(order_of(orders, RANDOM), taken[key])[:per_round],
            *(of_domain(each, key) for each in asked),
        ]
        if (floor := run.group_floor(key)) is not None:
            own = floor.candidates(run.storage, run.pool(key), table, taken[key], per_round)
            places += own.values()
        wanted |= _rows_by_part(run, key, places)
    return wanted


def _rows_by_part(
    run: Run, domain_key: DomainKey, places: Sequence[pa.Table]
) -> dict[Part, IntArray]:
    """Return the rows of each part of a pool that are among the places and can be read."""
    found = pa.concat_tables([each.select(PLACE).replace_schema_metadata() for each in places])
    gone = np.array(run.unusable().get(str(domain_key), []), np.int64)
    found = not_in(found, gone)
    names = np.asarray(found["part"].to_pylist(), dtype=np.str_)
    rows: IntArray = found["row"].to_numpy().astype(np.int64)
    return {part: np.unique(rows[names == part.name]) for part in run.pool(domain_key)}
