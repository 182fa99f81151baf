"""The second half of a round: train on all labels so far, score the pool, evaluate.

Round 0 is this half alone: it makes use of the labels that the sources came with.
"""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from umc_ray.annotation.people import work_of_people
from umc_ray.annotation.remarks import remarks
from umc_ray.annotation.times import answer_times
from umc_ray.campaign.corrections import correct_labels
from umc_ray.campaign.diversity import diversity_after, domain_balance
from umc_ray.campaign.documents import Audit, Fairness, RoundMetrics, Shown, Training
from umc_ray.campaign.epochs import EpochReporter
from umc_ray.campaign.evaluation import (
    audit_errors,
    audit_metrics,
    certificate,
    summary,
    test_metrics,
    with_validation,
)
from umc_ray.campaign.fairness import compare_audits, measure_fairness
from umc_ray.campaign.find_gaps import look_for_gaps, look_into_gaps
from umc_ray.campaign.refill_gains import measure_refill
from umc_ray.campaign.run import Run
from umc_ray.campaign.scoring import (
    compute_outputs_of_labels,
    compute_tuned_outputs,
    not_to_choose,
    score_pool,
)
from umc_ray.campaign.state import (
    FAIRNESS,
    GAPS,
    LEARNED,
    REMARKED,
    RESCORED,
    ROBUSTNESS,
    round_folder,
)
from umc_ray.campaign.synthetic import (
    ACCEPTANCE,
    STANDING,
    compute_outputs_of_synthetic,
    settle,
    standings_of,
)
from umc_ray.cluster.stream import OnRows
from umc_ray.diversity.gaps import AuditErrors, Gaps
from umc_ray.diversity.validation import human_ratings
from umc_ray.passes.gap_candidates import CANDIDATES_OF_GAPS
from umc_ray.passes.rescore import HEADS
from umc_ray.passes.score import FeatureTables, PoolScores
from umc_ray.selection.labeled import examples_by_task, labels_so_far
from umc_ray.selection.near_duplicates import check, propagate_labels
from umc_ray.selection.selection_test import SelectionVerdict, compare_selection
from umc_ray.specialists.combination import EnsembleJob
from umc_ray.specialists.ensemble import OUTPUTS, EnsembleRef
from umc_ray.specialists.specialist import Examples
from umc_ray.specialists.training import train_ensembles
from umc_ray.tasks.group_quality import GroupComparison

SCORED = ("scores", "top", HEADS, RESCORED)
"""What scoring stores in the folder of a round."""


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
            writes=[f"{folder}/near_duplicates"],
        )

    # Remember: what people said about samples beside labels, for a release.
    stages.run(f"{folder}/{REMARKED}", pa.Table, lambda _: remarks(run.store, run.config.name))

    # Settle: which synthetic samples stand, by what people say of them.
    if run.synthetic and not run.storage.exists(f"{folder}/training.json"):
        settle(run, number)

    # Train: all specialists, on all labels so far.
    training = stages.run(
        f"{folder}/training.json",
        Training,
        lambda _: train(run, number),
        writes=[f"models/{task}/{number:04d}" for task in run.config.tasks],
    )

    # Score the pool and the tests with the new specialists, and evaluate them. Fine-tuned ones
    # read the samples themselves.
    if not run.storage.exists(f"{folder}/scores.json"):
        compute_tuned_outputs(run, number, training)
    scores = stages.run(
        f"{folder}/scores.json",
        PoolScores,
        lambda on_rows: score_pool(run, number, training, on_rows),
        rows=sum(part.rows for part in run.parts),
        writes=[*(f"{folder}/{name}" for name in SCORED), OUTPUTS, "lower"],
    )
    if any(domain.groups for domain in run.config.domains().values()):
        stages.run(
            f"{folder}/{FAIRNESS}", Fairness, lambda _: measure_fairness(run, number, training)
        )

    # Look for gaps: patterns of the pool with too few labels. Some of the next labels go there.
    gaps = stages.run(
        f"{folder}/{GAPS}",
        Gaps,
        lambda _: look_for_gaps(run, number, training),
        writes=["clusters"],
    )
    if run.config.refine.share and any(each.lacks for each in gaps.domains.values()):
        stages.step(
            "gap candidates",
            lambda on_rows: look_into_gaps(run, number, gaps, on_rows),
            writes=[f"{folder}/{CANDIDATES_OF_GAPS}"],
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
    derived = ("corrections.parquet", "near_duplicates.parquet", REMARKED, STANDING, ACCEPTANCE)
    for name in (*LEARNED, RESCORED, FAIRNESS, GAPS, ROBUSTNESS, *derived):
        storage.delete_file(f"{folder}/{name}")
    for name in ("scores", "top", HEADS, "near_duplicates", CANDIDATES_OF_GAPS):
        storage.delete(f"{folder}/{name}")
    for task in run.config.tasks:
        storage.delete(f"models/{task}/{number:04d}")


def propagate(run: Run, number: int, on_rows: OnRows) -> pa.Table:
    """Have open samples take over the labels of those that they nearly equal."""
    rounds, excluded = run.folders(number), not_to_choose(run, number)
    features, rules = run.selection_features, run.config.near_duplicates
    return propagate_labels(run.storage, rounds, run.parts, features, excluded, rules, on_rows)


def train(run: Run, number: int) -> Training:
    """Retrain the specialists of all tasks that have labels; evaluate held-out predictions."""
    ensembles = run.ensembles_before(number)
    compute_outputs_of_labels(run, number, ensembles)
    compute_outputs_of_synthetic(run, ensembles)
    examples = _examples(run, number, ensembles)
    # With overlap, people may have been asked about the round after this one already.
    asked = run.spent(number)
    jobs = [
        EnsembleJob(
            run.config.tasks[name],
            each,
            f"models/{name}/{number:04d}",
            ensembles.get(name),
            last=asked >= run.config.budget.labels,
            heads_first=run.config.training.rescore == "candidates",
            reweighing=run.config.fairness.reweighing,
            smallest_group=run.config.fairness.thresholds_from,
        )
        for name, each in examples.items()
    ]
    placement = run.config.placement.training
    fits = train_ensembles(
        jobs, run.config.training, run.storage, run.config.seed, placement, EpochReporter(run)
    )
    trained = dict(zip(examples, fits, strict=True))
    audits: dict[str, Audit] = {}
    selection_tests: dict[str, SelectionVerdict] = {}
    audit_groups: dict[str, list[GroupComparison]] = {}
    errors: dict[str, AuditErrors] = {}
    refill: dict[str, list[Shown]] = {}
    judging = {name: each.real for name, each in examples.items()}
    for name, each in judging.items():
        kind, encoder = run.kinds[name], run.config.tasks[name].default_encoder
        audits |= audit_metrics(trained[name], each, name, kind)
        errors |= audit_errors(trained[name], each, name, kind)
        groups = {
            key: domain.groups for key, domain in run.config.domains().items() if key.task == name
        }
        smallest = run.config.fairness.smallest_group
        audit_groups |= compare_audits(trained[name], each, kind, groups, smallest)
        if kind.learned_from == "embedding":  # these teach heads
            selection_tests |= compare_selection(each, each.features[encoder], name, kind)
            refill |= measure_refill(run, number, name, encoder, examples[name])
    rules = run.config.certificate
    return Training(
        rows=sum(len(each) for each in examples.values()),
        ensembles={name: each.ref for name, each in trained.items()},
        specialists={name: each.specialists for name, each in trained.items()},
        audits=audits,
        selection_tests=selection_tests,
        audit_groups=audit_groups,
        audit_errors=errors,
        refill=refill,
        certificates={
            name: certificate(trained[name], each, run.kinds[name], rules)
            for name, each in judging.items()
        },
    )


def _examples(run: Run, number: int, ensembles: Mapping[str, EnsembleRef]) -> dict[str, Examples]:
    """Return each task's labeled samples after a round, with the synthetic ones that stand."""
    return examples_by_task(
        run.storage,
        run.folders(number),
        run.excluded(number),
        run.order_size,
        (*run.pools, *run.synthetic),
        {name: _with_outputs(run, name, ensembles.get(name)) for name in run.config.tasks},
        run.kinds,
        payloads={
            name: task.payload
            for name, task in run.config.tasks.items()
            if any(each.fine_tunes for each in task.ensemble().values())
        },
        synthetic=standings_of(run, number),
        synthetic_weight=run.config.refine.synthetic_weight,
        groups={key: domain.groups for key, domain in run.config.domains().items()},
    )


def _with_outputs(run: Run, task: str, before: EnsembleRef | None) -> FeatureTables:
    """Return the tables of a task's features, and of the outputs of networks that may be kept."""
    tables = run.features[task]
    if before is None:
        return tables
    pools = [part for part in (*run.pools, *run.synthetic) if part.domain_key.task == task]
    return {
        name: table
        for name, table in before.tables(tables).items()
        if name in tables or all(run.storage.exists(part.key(table)) for part in pools)
    }


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
    queried = run.queried(number)
    ids = {each for domain_ids in queried.values() for each in domain_ids.tolist()}
    answers = [each for each in run.store.answers(run.config.name) if each.sample_id in ids]
    standings = standings_of(run, number)
    return replace(
        with_validation(metrics, standings),
        ratings=list(human_ratings(standings, run.config.seed)),
        near_duplicates=check(run.storage, rounds),
        times=answer_times(answers, run.config.costs()),
        people=work_of_people(answers, run.kinds, run.config.costs()),
        diversity=diversity_after(run, number),
        domain_balance=domain_balance(metrics),
    )
