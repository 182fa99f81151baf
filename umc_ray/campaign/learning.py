"""The second half of a round: train on all labels so far, score the pool, evaluate.

Round 0 is this half alone: it makes use of the labels that the sources came with.
"""

from dataclasses import replace

import pyarrow as pa

from umc_ray.annotation.times import answer_times
from umc_ray.campaign.corrections import correct_labels
from umc_ray.campaign.documents import Audit, RoundMetrics, Training
from umc_ray.campaign.evaluation import audit_metrics, certificate, summary, test_metrics
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import LEARNED, round_folder
from umc_ray.cluster.stream import OnRows
from umc_ray.passes.outputs import compute_outputs
from umc_ray.passes.score import FeatureTables, PoolScores, ScoreWorker, score_parts
from umc_ray.records import DomainKey, IntArray
from umc_ray.selection.labeled import examples_by_task, labels_so_far
from umc_ray.selection.near_duplicates import check, propagate_labels, with_near_duplicates
from umc_ray.selection.selection_test import SelectionVerdict, compare_selection
from umc_ray.specialists.combination import EnsembleJob
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.training import train_ensembles


def learn(run: Run, number: int) -> RoundMetrics:
    """Make use of a round's labels, or of given ones in round 0; returns the round's metrics."""
    folder, stages = round_folder(number), run.stages

    # Correct: what people changed about labels of rounds that are closed.
    if not run.storage.exists(f"{folder}/training.json"):
        correct_labels(run, number)

    # Propagate: near-duplicates take over a label, where the campaign wants that.
    if run.config.near_duplicates.similarity is not None:
        stages.run(
            f"{folder}/near_duplicates.parquet",
            pa.Table,
            lambda on_rows: propagate(run, number, on_rows),
            rows=sum(part.rows for part in run.pools),
        )

    # Train: all specialists, on all labels so far.
    training = stages.run(f"{folder}/training.json", Training, lambda _: train(run, number))

    # Score the pool and the tests with the new specialists, and evaluate them. Fine-tuned ones
    # read the samples themselves.
    if not run.storage.exists(f"{folder}/scores.json"):
        compute_tuned_outputs(run, training)
    scores = stages.run(
        f"{folder}/scores.json",
        PoolScores,
        lambda on_rows: score_pool(run, number, training, on_rows),
        rows=sum(part.rows for part in run.parts),
    )
    return stages.run(
        f"{folder}/metrics.json", RoundMetrics, lambda _: evaluate(run, number, training, scores)
    )


def learn_again(run: Run, number: int) -> RoundMetrics:
    """Make use of a finished round's labels once more, because some of them have changed.

    If this is interrupted, `run.is_learned` is false, and all of it is done again.
    """
    forget_learning(run, number)
    return learn(run, number)


def forget_learning(run: Run, number: int) -> None:
    """Delete what a round's labels taught."""
    folder, storage = round_folder(number), run.storage
    for name in (*LEARNED, "corrections.parquet", "near_duplicates.parquet"):
        storage.delete_file(f"{folder}/{name}")
    for name in ("scores", "top", "near_duplicates"):
        storage.delete(f"{folder}/{name}")
    for task in run.config.tasks:
        storage.delete(f"models/{task}/{number:04d}")


def not_to_choose(run: Run, rounds: int) -> dict[DomainKey, IntArray]:
    """Return all samples that are not to be chosen after some rounds, by domain."""
    rules = run.config.near_duplicates
    return with_near_duplicates(run.storage, run.folders(rounds), run.excluded(), rules)


def propagate(run: Run, number: int, on_rows: OnRows) -> pa.Table:
    """Have open samples take over the labels of those that they nearly equal."""
    rounds, excluded = run.folders(number), not_to_choose(run, number)
    features, rules = run.selection_features, run.config.near_duplicates
    return propagate_labels(run.storage, rounds, run.parts, features, excluded, rules, on_rows)


def train(run: Run, number: int) -> Training:
    """Retrain the specialists of all tasks that have labels; evaluate held-out predictions."""
    ensembles = run.ensembles_before(number)
    examples = examples_by_task(
        run.storage,
        run.folders(number),
        run.excluded(number),
        run.order_size,
        run.pools,
        {name: _with_outputs(run, name, ensembles.get(name)) for name in run.config.tasks},
        run.kinds,
        payloads={
            name: task.payload
            for name, task in run.config.tasks.items()
            if any(each.fine_tunes for each in task.ensemble().values())
        },
    )
    # With overlap, people may have been asked about the round after this one already.
    asked = sum(len(ids) for ids in run.queried(number).values())
    jobs = [
        EnsembleJob(
            run.config.tasks[name],
            each,
            f"models/{name}/{number:04d}",
            ensembles.get(name),
            last=asked >= run.config.budget.labels,
        )
        for name, each in examples.items()
    ]
    placement = run.config.placement.training
    fits = train_ensembles(jobs, run.config.training, run.storage, run.config.seed, placement)
    trained = dict(zip(examples, fits, strict=True))
    audits: dict[str, Audit] = {}
    selection_tests: dict[str, SelectionVerdict] = {}
    for name, each in examples.items():
        kind, encoder = run.kinds[name], run.config.tasks[name].default_encoder
        audits |= audit_metrics(trained[name], each, name, kind)
        selection_tests |= compare_selection(each, each.features[encoder], name, kind)
    rules = run.config.certificate
    return Training(
        rows=sum(len(each) for each in examples.values()),
        ensembles={name: each.ref for name, each in trained.items()},
        specialists={name: each.specialists for name, each in trained.items()},
        audits=audits,
        selection_tests=selection_tests,
        certificates={
            name: certificate(trained[name], each, run.kinds[name], rules)
            for name, each in examples.items()
        },
    )


def _with_outputs(run: Run, task: str, before: EnsembleRef | None) -> FeatureTables:
    """Return the tables of a task's features, and of the outputs of networks that may be kept."""
    tables = run.features[task]
    if before is None:
        return tables
    pools = [part for part in run.pools if part.domain_key.task == task]
    return {
        name: table
        for name, table in before.tables(tables).items()
        if name in tables or all(run.storage.exists(part.key(table)) for part in pools)
    }


def compute_tuned_outputs(run: Run, training: Training) -> None:
    """Compute the outputs of fine-tuned specialists, if there are any, for all pools and tests."""
    tuned = {task: len(ref.tuned) for task, ref in training.ensembles.items() if ref.tuned}
    if not tuned:
        return
    labels, tasks = run.config.placement.scoring, run.config.tasks
    parts = [part for part in run.parts if part.domain_key.task in tuned]
    run.stages.step(
        "outputs",
        lambda on_rows: compute_outputs(
            training.ensembles, tasks, parts, run.storage, on_rows, labels
        ),
        rows=sum(part.rows * tuned[part.domain_key.task] for part in parts),
    )


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
    )


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
    compute_tuned_outputs(run, training)
    after = run.stages.step(
        "score new samples", lambda on_rows: score_parts(worker, parts, on_rows, labels)
    )
    run.storage.write_record(f"{round_folder(number)}/scores.json", after)


def evaluate(run: Run, number: int, training: Training, scores: PoolScores) -> RoundMetrics:
    """Sum up the round: labels, cost and quality, by domain and over all domains."""
    rounds = run.folders(number)
    parts = [part for part in run.parts if part.domain_key.task in training.ensembles]
    metrics = summary(
        labels=labels_so_far(run.storage, rounds),
        domain_keys=list(run.config.domains()),
        uncertainty={name: each.uncertainty for name, each in scores.domains.items()},
        audits=training.audits,
        tests=test_metrics(run.storage, round_folder(number), parts, run.kinds),
        selection_tests=training.selection_tests,
    )
    answers = [each for each in run.store.answers(run.config.name) if 0 < each.round <= number]
    return replace(
        metrics,
        near_duplicates=check(run.storage, rounds),
        times=answer_times(answers, run.config.costs()),
    )
