"""ONE round, top to bottom: select, annotate, train, score, evaluate, update the bandit.

Each slow or paid step is a stage: its output is stored once, and a round that is run again resumes
after the last completed stage. People are never asked twice; nothing is computed twice.
"""

from contextlib import suppress

import numpy as np
import pyarrow as pa
import ray

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.labels import label_table, places_of
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import decisions
from umc_ray.campaign.documents import (
    Allocation,
    BanditUpdate,
    DomainBudget,
    RoundMetrics,
)
from umc_ray.campaign.gaps import gap_share
from umc_ray.campaign.generation import make_synthetic
from umc_ray.campaign.given import labels_to_check
from umc_ray.campaign.learning import learn
from umc_ray.campaign.refill import decide_refill, search_shares
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import not_to_choose
from umc_ray.campaign.state import round_folder
from umc_ray.campaign.synthetic import open_validation, questions_to_validate
from umc_ray.errors import PoolExhausted, StoreError
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext
from umc_ray.passes.score import PoolScores
from umc_ray.records import DomainKey
from umc_ray.selection.allocator import batch_rewards
from umc_ray.selection.batch import DomainBatchSpec, choose
from umc_ray.selection.predictions import batch_predictions


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


def open_round(run: Run, number: int) -> pa.Table:
    """Select a round's batch and ask people about it, once; returns the batch."""
    folder = round_folder(number)
    _check_batch(run, number)
    budget = min(run.config.budget.per_round, run.config.budget.labels - run.spent())
    decide_refill(run, number)
    make_synthetic(run, number)
    validation = open_validation(run, number, budget)
    allocation = run.stages.run(
        f"{folder}/allocation.json",
        Allocation,
        lambda _: split_budget(run, number, budget - len(validation)),
    )
    batch = run.stages.run(
        f"{folder}/batch.parquet", pa.Table, lambda _: choose_batch(run, number, allocation)
    )
    if run.store.progress(run.config.name, number)[1] < len(batch) + len(validation):
        ask(run, number, batch, validation)
    return batch


def _check_batch(run: Run, number: int) -> None:
    """Make sure that the batch of a round that people are asked about is there.

    Raises:
        StoreError: it is not; another one would be paid for twice.
    """
    key = f"{round_folder(number)}/batch.parquet"
    _, asked = run.store.progress(run.config.name, number)
    if asked and not run.storage.exists(key):
        raise StoreError(
            f"people were asked {asked} questions in round {number}, but {key} of "
            f"{run.storage.root} is gone: copy it from a backup"
        )


def open_ahead(run: Run, number: int) -> None:
    """Open a round while the one before it is being answered, if there is anything left to ask."""
    with suppress(PoolExhausted):
        open_round(run, number)
        run.backend.collect(number)  # a sheet is written then


def split_budget(run: Run, number: int, budget: int) -> Allocation:
    """Ask the bandit for the labels of each domain, and decide how many of them are audits."""
    excluded = not_to_choose(run, run.newest(number))
    scores, metrics = run.scores(number), run.metrics(number)
    arms = [_context(run, key, len(ids), scores, metrics) for key, ids in excluded.items()]
    if budget <= 0 or not any(arm.remaining for arm in arms):
        given = sum(len(ids) for ids in run.given().values())
        known = f", {given} came with a label" if given else ""
        raise PoolExhausted(
            f"no sample of the pool is open: {run.spent()} have been asked about{known}"
        )
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


def choose_batch(run: Run, number: int, allocation: Allocation) -> pa.Table:
    """Choose each domain's part of the batch."""
    newest, training, scores = run.newest(number), run.training(number), run.scores(number)
    queried, excluded = run.excluded(), not_to_choose(run, newest)
    to_check = labels_to_check(run)
    labels = sum(each.labels for each in allocation.domains.values())
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
            to_check=to_check.get(key),
            scores=round_folder(newest) if scores and str(key) in scores.domains else None,
            seed=run.config.seed * 100_003 + number,
            rounds=tuple(run.folders(number - 1)),
            selection_test=None if training is None else training.selection_tests.get(str(key)),
            group_floor=run.group_floor(key),
            gaps=gap_share(run, newest, key, search_shares(run, number, key, labels)),
        )
        for key in run.config.domains()
    ]
    return choose(specs, run.config.selection, run.storage)


def ask(run: Run, number: int, batch: pa.Table, validation: pa.Table) -> None:
    """Ask people about a batch, with what the newest specialists predict, and to validate."""
    training = run.training(number)
    ensembles = {} if training is None else training.ensembles
    shown = ensembles if run.config.annotation.traits.shows_predictions else {}
    predictions = batch_predictions(run.storage, shown, run.kinds, run.features, run.pools, batch)
    of_pool = batch_questions(run.config, number, batch, predictions)
    run.backend.submit([*of_pool, *questions_to_validate(run, number, validation)])


def collect(run: Run, number: int, batch: pa.Table) -> pa.Table:
    """Make the answers labels when all are there; those on synthetic samples are not among them."""
    rules, name = run.config.annotation, run.config.name
    answers = collect_all(run.backend, number, rules.review, rules.max_votes, rules.spot_check)
    run.store.close_round(name, number)
    decided = decisions(run.store, name, number)
    costs = run.config.costs()
    places = places_of(batch)
    answers = [each for each in answers if (each.task, each.sample_id) in places]
    return label_table(answers, run.kinds, costs, number, places, decided)


def update_bandit(run: Run, number: int, batch: pa.Table, labels: pa.Table) -> BanditUpdate:
    """Tell the bandit how often the ensemble had the bought labels wrong, before it saw them."""
    rewards = batch_rewards(batch, labels, list(run.config.domains()), run.kinds)
    ray.get(run.allocator.update.remote(number, rewards))
    return BanditUpdate(rewards)
