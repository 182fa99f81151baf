"""ONE round, top to bottom: select, annotate, train, score, evaluate, update the bandit.

Each slow or paid step is a stage: its output is stored once, and a round that is run again resumes
after the last completed stage. People are never asked twice; nothing is computed twice.
"""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import ray

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.labels import label_table, places_of
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import decisions
from umc_ray.annotation.times import answer_times
from umc_ray.campaign.documents import (
    Allocation,
    Audit,
    BanditUpdate,
    DomainBudget,
    RoundMetrics,
    Training,
)
from umc_ray.campaign.evaluation import audit_metrics, certificate, summary, test_metrics
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import PoolExhausted
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext
from umc_ray.passes.score import PoolScores, ScoreWorker, score_parts
from umc_ray.records import DomainKey, IntArray
from umc_ray.selection.allocator import batch_rewards
from umc_ray.selection.batch import DomainBatchSpec, choose
from umc_ray.selection.labeled import examples_by_task, labels_so_far
from umc_ray.selection.near_duplicates import check, propagate_labels, with_near_duplicates
from umc_ray.selection.predictions import batch_predictions
from umc_ray.selection.selection_test import SelectionVerdict, compare_selection
from umc_ray.specialists.training import EnsembleJob, train_ensembles


def run_round(run: Run, number: int) -> RoundMetrics:
    """Run one round, from 1; returns its metrics.

    Raises:
        AwaitingAnnotations: people have not answered everything yet.
        PoolExhausted: there is nothing left to ask.
    """
    folder, stages = round_folder(number), run.stages

    # Select and annotate: people answer in their own time.
    batch = open_round(run, number)
    if run.config.annotation.overlap:
        open_ahead(run, number + 1)
    labels = stages.run(f"{folder}/labels.parquet", pa.Table, lambda _: collect(run, number, batch))

    metrics = learn(run, number)

    # Update the bandit: it learns where labels helped.
    stages.run(
        f"{folder}/bandit.json",
        BanditUpdate,
        lambda _: update_bandit(run, number, batch, labels),
    )
    return metrics


def learn(run: Run, number: int) -> RoundMetrics:
    """Make use of a round's labels, or of given ones in round 0; returns the round's metrics."""
    folder, stages = round_folder(number), run.stages

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

    # Score the pool and the tests with the new specialists, and evaluate them.
    scores = stages.run(
        f"{folder}/scores.json",
        PoolScores,
        lambda on_rows: score_pool(run, number, training, on_rows),
        rows=sum(part.rows for part in run.parts),
    )
    return stages.run(
        f"{folder}/metrics.json", RoundMetrics, lambda _: evaluate(run, number, training, scores)
    )


def open_round(run: Run, number: int) -> pa.Table:
    """Select a round's batch and ask people about it, once; returns the batch."""
    folder = round_folder(number)
    allocation = run.stages.run(
        f"{folder}/allocation.json", Allocation, lambda _: split_budget(run, number)
    )
    batch = run.stages.run(
        f"{folder}/batch.parquet", pa.Table, lambda _: choose_batch(run, number, allocation)
    )
    if run.store.progress(run.config.name, number)[1] < len(batch):
        ask(run, number, batch)
    return batch


def open_ahead(run: Run, number: int) -> None:
    """Open a round while the one before it is being answered, if there is anything left to ask."""
    with suppress(PoolExhausted):
        open_round(run, number)
        run.backend.collect(number)  # a sheet is written then


def split_budget(run: Run, number: int) -> Allocation:
    """Ask the bandit for the labels of each domain, and decide how many of them are audits."""
    excluded = _excluded(run, run.newest(number))
    scores, metrics = run.scores(number), run.metrics(number)
    arms = [_context(run, key, len(ids), scores, metrics) for key, ids in excluded.items()]
    spent = sum(len(ids) for ids in run.queried().values())
    budget = min(run.config.budget.per_round, run.config.budget.labels - spent)
    if budget <= 0 or not any(arm.remaining for arm in arms):
        given = sum(len(ids) for ids in run.given().values())
        known = f", {given} came with a label" if given else ""
        raise PoolExhausted(f"no sample of the pool is open: {spent} have been asked about{known}")
    labels = ray.get(run.allocator.plan.remote(number, arms, budget))
    counts_A = np.array([labels[arm.name] for arm in arms])
    audits = round(run.config.budget.audit * int(counts_A.sum()))
    audits_A = allocate(counts_A / counts_A.sum(), audits, floor=0.0, remaining_A=counts_A)
    return Allocation(
        {
            arm.name: DomainBudget(labels=int(n), audits=int(a), context=arm)
            for arm, n, a in zip(arms, counts_A, audits_A, strict=True)
        }
    )


def _context(
    run: Run,
    domain_key: DomainKey,
    excluded: int,
    scores: PoolScores | None,
    metrics: RoundMetrics | None,
) -> ArmContext:
    """Return what the newest round says about a domain; for a new one, only its size and cost."""
    name = str(domain_key)
    rows = sum(part.rows for part in run.pool(domain_key))
    scored = None if scores is None else scores.domains.get(name)
    known = None if metrics is None else metrics.domains.get(name)
    cost = run.config.domains()[domain_key].cost_per_label
    if run.config.allocation.costs == "measured" and metrics is not None and name in metrics.times:
        cost = metrics.times[name].cost
    return ArmContext(
        name=name,
        uncertainty=None if scored is None else scored.uncertainty,
        remaining=rows - excluded,
        pool=rows,
        cost=cost,
        accuracy=None if known is None or known.audit is None else known.audit.utility.value,
    )


def _excluded(run: Run, rounds: int) -> dict[DomainKey, IntArray]:
    """Return all samples that are not to be chosen after some rounds, by domain."""
    rules = run.config.near_duplicates
    return with_near_duplicates(run.storage, run.folders(rounds), run.excluded(), rules)


def choose_batch(run: Run, number: int, allocation: Allocation) -> pa.Table:
    """Choose each domain's part of the batch."""
    newest, training, scores = run.newest(number), run.training(number), run.scores(number)
    queried, excluded = run.excluded(), _excluded(run, newest)
    specs = [
        DomainBatchSpec(
            domain_key=key,
            kind=run.kinds[key.task],
            labels=allocation.domains[str(key)].labels,
            audits=allocation.domains[str(key)].audits,
            parts=run.pool(key),
            features=run.selection_features[key.task],
            order_size=run.order_size,
            queried=queried[key],
            propagated=excluded[key],
            scores=round_folder(newest) if scores and str(key) in scores.domains else None,
            seed=run.config.seed * 100_003 + number,
            rounds=tuple(run.folders(number - 1)),
            selection_test=None if training is None else training.selection_tests.get(str(key)),
        )
        for key in run.config.domains()
    ]
    return choose(specs, run.config.selection, run.storage)


def ask(run: Run, number: int, batch: pa.Table) -> None:
    """Ask people about a batch, with what the newest specialists predict."""
    training = run.training(number)
    ensembles = {} if training is None else training.ensembles
    shown = ensembles if run.config.annotation.traits.shows_predictions else {}
    predictions = batch_predictions(run.storage, shown, run.kinds, run.features, run.pools, batch)
    run.backend.submit(batch_questions(run.config, number, batch, predictions))


def collect(run: Run, number: int, batch: pa.Table) -> pa.Table:
    """Make the answers labels when all are there."""
    rules, name = run.config.annotation, run.config.name
    answers = collect_all(run.backend, number, rules.review, rules.max_votes)
    run.store.close_round(name, number)
    decided = decisions(run.store, name, number)
    costs = run.config.costs()
    return label_table(answers, run.kinds, costs, number, places_of(batch), decided)


def propagate(run: Run, number: int, on_rows: OnRows) -> pa.Table:
    """Have open samples take over the labels of those that they nearly equal."""
    rounds, excluded = run.folders(number), _excluded(run, number)
    features, rules = run.selection_features, run.config.near_duplicates
    return propagate_labels(run.storage, rounds, run.parts, features, excluded, rules, on_rows)


def train(run: Run, number: int) -> Training:
    """Retrain the specialists of all tasks that have labels; evaluate held-out predictions."""
    examples = examples_by_task(
        run.storage,
        run.folders(number),
        run.excluded(number),
        run.order_size,
        run.pools,
        run.features,
        run.kinds,
    )
    before = run.training(number)
    ensembles = {} if before is None else before.ensembles
    jobs = [
        EnsembleJob(
            run.config.tasks[name], each, f"models/{name}/{number:04d}", ensembles.get(name)
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


def score_pool(run: Run, number: int, training: Training, on_rows: OnRows) -> PoolScores:
    """Score all pools and tests with the newest specialists."""
    worker = ScoreWorker(
        storage=run.storage,
        table=round_folder(number),
        ensembles=training.ensembles,
        kinds=run.kinds,
        features=run.features,
        excluded=_excluded(run, number),
        acquisition=run.config.selection.acquisition,
        top=run.config.selection.candidates_per_label * run.config.budget.per_round,
    )
    parts = [part for part in run.parts if part.domain_key.task in training.ensembles]
    return score_parts(worker, parts, on_rows, run.config.placement.scoring)


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
    answers = [each for each in run.store.answers(run.config.name) if each.round <= number]
    return replace(
        metrics,
        near_duplicates=check(run.storage, rounds),
        times=answer_times(answers, run.config.costs()),
    )


def update_bandit(run: Run, number: int, batch: pa.Table, labels: pa.Table) -> BanditUpdate:
    """Tell the bandit how often the ensemble had the bought labels wrong, before it saw them."""
    rewards = batch_rewards(batch, labels, list(run.config.domains()), run.kinds)
    ray.get(run.allocator.update.remote(number, rewards))
    return BanditUpdate(rewards)
