"""The output of `umc status`: the results of the last round, and what the campaign does now."""

import time
from collections import Counter
from datetime import timedelta
from typing import get_args

from rich.table import Table

from umc_ray.campaign.documents import DomainMetrics
from umc_ray.campaign.given import checked_labels
from umc_ray.campaign.heartbeat import RunningStage, running_stage
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.campaign.synthetic import standings_of
from umc_ray.console import counted
from umc_ray.diversity.validation import Standing
from umc_ray.methods.certificates import exact_interval
from umc_ray.report.fairness import group_lines
from umc_ray.report.gaps import gap_lines

COLUMNS = ("domain", "labels", "cost", "audit utility", "test utility", "uncertainty")


def status_table(run: Run) -> Table:
    """Return labels, cost and accuracy of each domain after the last round."""
    rounds = run.finished_rounds
    run.check_learned(rounds)
    table = Table(title=f"{run.config.name}: {counted(rounds, 'round')} done", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "domain" else "right")
    if rounds:
        for domain_key, metrics in run.round_metrics(rounds)[-1].domains.items():
            table.add_row(domain_key, *_cells(metrics))
    return table


def _cells(metrics: DomainMetrics) -> list[str]:
    """Format the metrics of a domain, in the order of COLUMNS; empty where not measured."""
    audit = metrics.audit.utility if metrics.audit else None
    return [
        str(metrics.labels),
        f"{metrics.cost:.0f}",
        f"{audit.value:.3f} ({audit.low:.2f}-{audit.high:.2f})" if audit else "",
        f"{metrics.test.utility.value:.3f}" if metrics.test else "",
        "" if metrics.uncertainty is None else f"{metrics.uncertainty:.3f}",
    ]


def activity_lines(run: Run) -> list[str]:
    """Describe what a campaign does now: annotations it waits for, and the running stage."""
    lines = []
    number = run.finished_rounds + 1
    folder = round_folder(number)
    queried = run.storage.exists(f"{folder}/batch.parquet")
    if queried and not run.storage.exists(f"{folder}/labels.parquet"):
        done, questions = run.store.progress(run.config.name, number)
        lines.append(f"round {number} waits for people: {done} of {questions} questions answered")
    checked, wrong = checked_labels(run, run.finished_rounds)
    if checked:
        low, high = exact_interval(wrong, checked)
        lines.append(
            f"{wrong} of {checked} given labels that people checked are wrong "
            f"(95 %: {low:.0%} to {high:.0%})"
        )
    lines += _synthetic_lines(run)
    lines += group_lines(run)
    lines += gap_lines(run)
    stage = running_stage(run.storage)
    if stage is not None:
        lines.append(_stage_line(stage, time.time()))
    return lines


def _synthetic_lines(run: Run) -> list[str]:
    """Say what has become of synthetic samples, if there are any."""
    counts = Counter(standings_of(run, run.finished_rounds)["standing"].to_pylist())
    if not counts:
        return []
    said = ", ".join(f"{counts[each]} {each}" for each in get_args(Standing) if counts[each])
    return [f"of {counted(counts.total(), 'synthetic sample')}: {said}"]


def _stage_line(stage: RunningStage, now: float) -> str:
    if stage.is_lost(now):
        seen = _local_time(stage.seen)
        return f"{stage.stage}: no heartbeat since {seen}; run the campaign again to resume it"
    elapsed = timedelta(seconds=max(0, int(now - stage.since)))
    return f"{stage.stage}: running since {_local_time(stage.since)}, for {elapsed}"


def _local_time(seconds: float) -> str:
    return time.strftime("%F %T", time.localtime(seconds))
