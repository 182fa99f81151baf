"""ONE round, top to bottom: choose, ask, learn, look again, credit.

Each slow or paid step is a stage: its output is stored once, and a round that is run again goes on
behind the last stage that was stored. People are never asked twice; nothing is computed twice.
"""

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.labels import label_table
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import decisions
from umc_ray.annotation.times import answer_times
from umc_ray.campaign.evaluation import held_out_metrics, summary, test_metrics
from umc_ray.campaign.state import Run, round_folder
from umc_ray.cluster.stream import OnRows
from umc_ray.errors import PoolExhausted
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext
from umc_ray.passes.score import ScoreWorker, score_parts
from umc_ray.records import DomainKey, IntArray
from umc_ray.selection.allocator import batch_rewards
from umc_ray.selection.batch import DomainBatchSpec, choose
from umc_ray.selection.labeled import labels_so_far, training_sets
from umc_ray.selection.near_duplicates import (
    near_duplicate_metrics,
    propagate_labels,
    with_near_duplicates,
)
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.training import EnsembleJob, train_ensembles

Document = dict[str, Any]


def run_round(run: Run, number: int) -> Document:
    """Run one round, from 1; returns its metrics.

    Raises:
        Waiting: people have not answered everything yet.
        PoolExhausted: there is nothing left to ask.
    """
    folder = round_folder(number)
    parts = run.parts

    # Choose and ask: people answer in their own time, and need not wait for machines either.
    batch = open_round(run, number)
    if run.config.annotation.overlap:
        open_ahead(run, number + 1)
    labels = run.stages.run(f"{folder}/labels.parquet", lambda _: collect(run, number))

    # Spread: what is nearly the same takes over the label, where the campaign wants that.
    if run.config.near_duplicates.similarity is not None:
        run.stages.run(
            f"{folder}/near_duplicates.parquet", lambda done: propagate(run, number, done)
        )

    # Learn: all specialists are retrained on all labels so far.
    training = run.stages.run(f"{folder}/training.json", lambda _: train(run, number))

    # Look again: the new specialists score the pool and the tests.
    scores = run.stages.run(
        f"{folder}/scores.json",
        lambda on_rows: score_pool(run, number, training, on_rows),
        rows=sum(part.rows for part in parts),
    )
    metrics = run.stages.run(
        f"{folder}/metrics.json", lambda _: evaluate(run, number, training, scores)
    )

    # Credit: the bandit learns where labels helped.
    run.stages.run(f"{folder}/bandit.json", lambda _: update_bandit(run, number, batch, labels))
    return metrics


def open_round(run: Run, number: int) -> pa.Table:
    """Choose a round's batch and ask about it, once; returns the batch."""
    folder = round_folder(number)

    # Choose: a bandit splits the budget over the domains; each picks hard and diverse samples.
    plan = run.stages.run(f"{folder}/allocation.json", lambda _: split_budget(run, number))
    batch = run.stages.run(f"{folder}/batch.parquet", lambda _: choose_batch(run, number, plan))

    # Ask: with what the newest specialists think of each sample.
    if run.store.progress(run.config.name, number)[1] < len(batch):
        trained = run.last(number, "training").get("ensembles", {})
        run.backend.submit(batch_questions(run.config, number, batch, run.storage, trained))
    return batch


def open_ahead(run: Run, number: int) -> None:
    """Open a round while the one before it is being answered, if there is anything left to ask."""
    with suppress(PoolExhausted):
        open_round(run, number)
        run.backend.collect(number)  # a sheet is written then


def _rounds(number: int) -> list[str]:
    return [round_folder(each) for each in range(1, number + 1)]


def split_budget(run: Run, number: int) -> Document:
    """Ask the bandit for the labels of each domain, and decide how many of them are audits."""
    excluded = _excluded(run, run.newest(number))
    scores, metrics = run.last(number, "scores"), run.last(number, "metrics")
    domain_keys = [
        _context(run, domain_key, len(ids), scores, metrics) for domain_key, ids in excluded.items()
    ]
    spent = sum(len(ids) for ids in run.queried().values())
    budget = min(run.config.budget.per_round, run.config.budget.labels - spent)
    if budget <= 0 or not any(domain_key.remaining for domain_key in domain_keys):
        raise PoolExhausted(f"no sample of the pool is open: {spent} have been asked about")
    labels = ray.get(run.allocator.plan.remote(number, domain_keys, budget))
    counts_A = np.array([labels[domain_key.name] for domain_key in domain_keys])
    audits = round(run.config.budget.audit * int(counts_A.sum()))
    audits_A = allocate(counts_A / counts_A.sum(), audits, floor=0.0, remaining_A=counts_A)
    return {
        domain_key.name: {"labels": int(n), "audits": int(a), "context": asdict(domain_key)}
        for domain_key, n, a in zip(domain_keys, counts_A, audits_A, strict=True)
    }


def _context(
    run: Run, domain_key: DomainKey, excluded: int, scores: Document, metrics: Document
) -> ArmContext:
    """Tell what the newest round found out about a domain; nothing for a new one."""
    rows = sum(part.rows for part in run.pool(domain_key))
    audit = metrics.get("domains", {}).get(str(domain_key), {}).get("audit")
    times = metrics.get("times", {}) if run.config.allocation.costs == "measured" else {}
    return ArmContext(
        name=str(domain_key),
        uncertainty=scores.get("domains", {}).get(str(domain_key), {}).get("uncertainty"),
        remaining=rows - excluded,
        pool=rows,
        cost=times.get(str(domain_key), {}).get(
            "cost", run.config.domains()[domain_key].cost_per_label
        ),
        accuracy=None if audit is None else audit["accuracy"],
    )


def _excluded(run: Run, rounds: int) -> dict[DomainKey, IntArray]:
    """Return all samples that are not to be chosen after some rounds, by domain."""
    rules = run.config.near_duplicates
    return with_near_duplicates(run.storage, _rounds(rounds), run.excluded(), rules)


def choose_batch(run: Run, number: int, plan: Document) -> pa.Table:
    """Choose each domain's share of the batch."""
    newest = run.newest(number)
    queried, excluded = run.excluded(), _excluded(run, newest)
    scored = run.last(number, "scores").get("domains", {})
    selection_test = run.last(number, "training").get("selection_test", {})
    shares = [
        DomainBatchSpec(
            domain_key=domain_key,
            labels=plan[str(domain_key)]["labels"],
            audits=plan[str(domain_key)]["audits"],
            parts=run.pool(domain_key),
            features=run.features[domain_key.task],
            order_size=run.order_size,
            queried=queried[domain_key],
            propagated=excluded[domain_key],
            scores=round_folder(newest) if str(domain_key) in scored else None,
            classes=run.classes[domain_key.task],
            seed=run.config.seed * 100_003 + number,
            rounds=tuple(_rounds(number - 1)),
            selection_test=selection_test.get(str(domain_key)),
        )
        for domain_key in run.config.domains()
    ]
    return choose(shares, run.config.selection, run.storage)


def collect(run: Run, number: int) -> pa.Table:
    """Make the answers labels when all are there."""
    rules, name = run.config.annotation, run.config.name
    answers = collect_all(run.backend, number, rules.review, rules.max_votes)
    run.store.close_round(name, number)
    decided = decisions(run.store, name, number)
    return label_table(answers, run.classes, run.config.costs(), number, decided)


def propagate(run: Run, number: int, on_rows: OnRows) -> pa.Table:
    """Have open samples take over the labels of those that they are nearly the same as."""
    rounds, excluded, rules = _rounds(number), _excluded(run, number), run.config.near_duplicates
    return propagate_labels(run.storage, rounds, run.parts, run.features, excluded, rules, on_rows)


def train(run: Run, number: int) -> Document:
    """Retrain the specialists of all tasks that have labels, and measure them on the audits."""
    samples = training_sets(run.storage, _rounds(number), run.excluded(number), run.order_size)
    before = run.last(number, "training").get("ensembles", {})
    jobs = [
        EnsembleJob(
            task=run.config.tasks[name],
            samples=labeled,
            folder=f"models/{name}/{number:04d}",
            before=EnsembleRef.from_json(before[name]) if name in before else None,
        )
        for name, labeled in samples.items()
    ]
    trained = train_ensembles(
        jobs, run.config.training, run.storage, run.config.seed, run.config.placement.training
    )
    return {
        "rows": sum(len(each.labels_N) for each in samples.values()),
        "ensembles": {k: v.ref.to_json() for k, v in zip(samples, trained, strict=True)},
        "specialists": {k: v.specialists for k, v in zip(samples, trained, strict=True)},
        **held_out_metrics(samples, trained, run.config.certificate),
    }


def score_pool(run: Run, number: int, training: Document, on_rows: OnRows) -> Document:
    """Score all pools and tests with the newest specialists."""
    ensembles = {k: EnsembleRef.from_json(v) for k, v in training["ensembles"].items()}
    worker = ScoreWorker(
        storage=run.storage,
        table=round_folder(number),
        ensembles=ensembles,
        features=run.features,
        excluded=_excluded(run, number),
        acquisition=run.config.selection.acquisition,
        top=run.config.selection.candidates_per_label * run.config.budget.per_round,
    )
    parts = [part for part in run.parts if part.domain_key.task in ensembles]
    return score_parts(worker, parts, on_rows, run.config.placement.scoring)


def evaluate(run: Run, number: int, training: Document, scores: Document) -> Document:
    """Sum up the round: labels, cost and accuracy, by domain and over all domains."""
    parts = [part for part in run.parts if part.domain_key.task in training["ensembles"]]
    found = summary(
        labels=labels_so_far(run.storage, _rounds(number)),
        domain_keys=list(run.config.domains()),
        uncertainty={
            domain_key: found["uncertainty"] for domain_key, found in scores["domains"].items()
        },
        audits=training["audits"],
        tests=test_metrics(run.storage, round_folder(number), parts, run.classes),
        selection_test=training.get("selection_test", {}),
    )
    answers = [each for each in run.store.answers(run.config.name) if each.round <= number]
    return found | {
        "near_duplicates": near_duplicate_metrics(run.storage, _rounds(number)),
        "times": answer_times(answers, run.config.costs()),
    }


def update_bandit(run: Run, number: int, batch: pa.Table, labels: pa.Table) -> Document:
    """Tell the bandit how often the ensemble had the bought labels wrong, before it saw them."""
    rewards = batch_rewards(batch, labels, list(run.config.domains()))
    ray.get(run.allocator.credit.remote(number, rewards))
    return {"rewards": [asdict(reward) for reward in rewards]}
