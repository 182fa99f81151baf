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

from umc_ray.annotation.backend import collect_all
from umc_ray.annotation.labels import label_table
from umc_ray.annotation.questions import batch_questions
from umc_ray.annotation.review import decisions
from umc_ray.annotation.times import answer_times
from umc_ray.errors import PoolExhausted
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext
from umc_ray.pipeline.allocator import batch_rewards
from umc_ray.pipeline.batch import Share, choose
from umc_ray.pipeline.ensemble import EnsembleRef, ScoreWorker, score_parts
from umc_ray.pipeline.evaluation import held_out_metrics, summary, test_metrics
from umc_ray.pipeline.labeled import labels_so_far, training_sets
from umc_ray.pipeline.near_duplicates import near_duplicate_metrics, take_over, with_near_duplicates
from umc_ray.pipeline.stream import OnRows
from umc_ray.pipeline.training import EnsembleJob, train_ensembles
from umc_ray.records import Arm, IntArray
from umc_ray.run import Run, round_folder

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
    labels = run.stage(f"{folder}/labels.parquet", lambda _: collect(run, number))

    # Spread: what is nearly the same takes over the label, where the campaign wants that.
    if run.config.near_duplicates.similarity is not None:
        run.stage(f"{folder}/near_duplicates.parquet", lambda done: spread(run, number, done))

    # Learn: all specialists are retrained on all labels so far.
    training = run.stage(f"{folder}/training.json", lambda _: train(run, number))

    # Look again: the new specialists score the pool and the tests.
    scores = run.stage(
        f"{folder}/scores.json",
        lambda on_rows: look(run, number, training, on_rows),
        rows=sum(part.rows for part in parts),
    )
    metrics = run.stage(f"{folder}/metrics.json", lambda _: measure(run, number, training, scores))

    # Credit: the bandit learns where labels helped.
    run.stage(f"{folder}/bandit.json", lambda _: credit(run, number, batch, labels))
    return metrics


def open_round(run: Run, number: int) -> pa.Table:
    """Choose a round's batch and ask about it, once; returns the batch."""
    folder = round_folder(number)

    # Choose: a bandit splits the budget over the domains; each picks hard and diverse samples.
    plan = run.stage(f"{folder}/allocation.json", lambda _: split_budget(run, number))
    batch = run.stage(f"{folder}/batch.parquet", lambda _: choose_batch(run, number, plan))

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
    closed = _closed(run, run.newest(number))
    scores, metrics = run.last(number, "scores"), run.last(number, "metrics")
    arms = [_context(run, arm, len(ids), scores, metrics) for arm, ids in closed.items()]
    spent = sum(len(ids) for ids in run.asked().values())
    budget = min(run.config.budget.per_round, run.config.budget.labels - spent)
    if budget <= 0 or not any(arm.remaining for arm in arms):
        raise PoolExhausted(f"no sample of the pool is open: {spent} have been asked about")
    labels = ray.get(run.allocator.plan.remote(number, arms, budget))
    counts_A = np.array([labels[arm.name] for arm in arms])
    audits = round(run.config.budget.audit * int(counts_A.sum()))
    audits_A = allocate(counts_A / counts_A.sum(), audits, floor=0.0, remaining_A=counts_A)
    return {
        arm.name: {"labels": int(n), "audits": int(a), "context": asdict(arm)}
        for arm, n, a in zip(arms, counts_A, audits_A, strict=True)
    }


def _context(run: Run, arm: Arm, closed: int, scores: Document, metrics: Document) -> ArmContext:
    """Tell what the newest round found out about a domain; nothing for a new one."""
    rows = sum(part.rows for part in run.pool(arm))
    audit = metrics.get("arms", {}).get(str(arm), {}).get("audit")
    times = metrics.get("times", {}) if run.config.allocation.costs == "measured" else {}
    return ArmContext(
        name=str(arm),
        uncertainty=scores.get("arms", {}).get(str(arm), {}).get("uncertainty"),
        remaining=rows - closed,
        pool=rows,
        cost=times.get(str(arm), {}).get("cost", run.config.domains()[arm].cost_per_label),
        accuracy=None if audit is None else audit["accuracy"],
    )


def _closed(run: Run, rounds: int) -> dict[Arm, IntArray]:
    """Return all samples that are not to be chosen after some rounds, by domain."""
    rules = run.config.near_duplicates
    return with_near_duplicates(run.storage, _rounds(rounds), run.closed(), rules)


def choose_batch(run: Run, number: int, plan: Document) -> pa.Table:
    """Choose each domain's share of the batch."""
    newest = run.newest(number)
    asked, closed = run.closed(), _closed(run, newest)
    scored = run.last(number, "scores").get("arms", {})
    benefit = run.last(number, "training").get("benefit", {})
    shares = [
        Share(
            arm=arm,
            labels=plan[str(arm)]["labels"],
            audits=plan[str(arm)]["audits"],
            parts=run.pool(arm),
            features=run.features[arm.task],
            draws=run.draws,
            asked=asked[arm],
            spared=closed[arm],
            scores=round_folder(newest) if str(arm) in scored else None,
            classes=run.classes[arm.task],
            seed=run.config.seed * 100_003 + number,
            rounds=tuple(_rounds(number - 1)),
            benefit=benefit.get(str(arm)),
        )
        for arm in run.config.domains()
    ]
    return choose(shares, run.config.selection, run.storage)


def collect(run: Run, number: int) -> pa.Table:
    """Make the answers labels when all are there."""
    rules, name = run.config.annotation, run.config.name
    answers = collect_all(run.backend, number, rules.review, rules.max_votes)
    run.store.close_round(name, number)
    decided = decisions(run.store, name, number)
    return label_table(answers, run.classes, run.config.costs(), number, decided)


def spread(run: Run, number: int, on_rows: OnRows) -> pa.Table:
    """Have open samples take over the labels of those that they are nearly the same as."""
    rounds, closed, rules = _rounds(number), _closed(run, number), run.config.near_duplicates
    return take_over(run.storage, rounds, run.parts, run.features, closed, rules, on_rows)


def train(run: Run, number: int) -> Document:
    """Retrain the specialists of all tasks that have labels, and measure them on the audits."""
    samples = training_sets(run.storage, _rounds(number), run.closed(number), run.draws)
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


def look(run: Run, number: int, training: Document, on_rows: OnRows) -> Document:
    """Score all pools and tests with the newest specialists."""
    ensembles = {k: EnsembleRef.from_json(v) for k, v in training["ensembles"].items()}
    worker = ScoreWorker(
        storage=run.storage,
        table=round_folder(number),
        ensembles=ensembles,
        features=run.features,
        asked=_closed(run, number),
        acquisition=run.config.selection.acquisition,
        top=run.config.selection.candidates_per_label * run.config.budget.per_round,
    )
    parts = [part for part in run.parts if part.arm.task in ensembles]
    return score_parts(worker, parts, on_rows, run.config.placement.scoring)


def measure(run: Run, number: int, training: Document, scores: Document) -> Document:
    """Sum up the round: labels, cost and accuracy, by domain and over all domains."""
    parts = [part for part in run.parts if part.arm.task in training["ensembles"]]
    found = summary(
        labels=labels_so_far(run.storage, _rounds(number)),
        arms=list(run.config.domains()),
        uncertainty={arm: found["uncertainty"] for arm, found in scores["arms"].items()},
        audits=training["audits"],
        tests=test_metrics(run.storage, round_folder(number), parts, run.classes),
        benefit=training.get("benefit", {}),
    )
    answers = [each for each in run.store.answers(run.config.name) if each.round <= number]
    return found | {
        "near_duplicates": near_duplicate_metrics(run.storage, _rounds(number)),
        "times": answer_times(answers, run.config.costs()),
    }


def credit(run: Run, number: int, batch: pa.Table, labels: pa.Table) -> Document:
    """Tell the bandit how often the ensemble had the bought labels wrong, before it saw them."""
    rewards = batch_rewards(batch, labels, list(run.config.domains()))
    ray.get(run.allocator.credit.remote(number, rewards))
    return {"rewards": [asdict(reward) for reward in rewards]}
