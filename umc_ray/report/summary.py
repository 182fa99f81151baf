"""What `umc status` says of a run directory: computed once, and stored until it changes."""

import logging
from collections import Counter
from typing import get_args

from umc_ray.campaign.documents import DomainMetrics
from umc_ray.campaign.given import checked_labels
from umc_ray.campaign.run import Run
from umc_ray.campaign.stages import ProgressListener
from umc_ray.campaign.synthetic import standings_of
from umc_ray.cluster.stream import OnRows
from umc_ray.config.campaign import CampaignConfig
from umc_ray.console import counted
from umc_ray.diversity.validation import Standing
from umc_ray.errors import StoreError
from umc_ray.methods.certificates import exact_interval
from umc_ray.report.ensemble import ensemble_lines
from umc_ray.report.fairness import group_lines
from umc_ray.report.gaps import gap_lines
from umc_ray.report.status import OF_NEXT_ROUND, STATUS, Status, stamp

logger = logging.getLogger(__name__)


def update_status(config: CampaignConfig) -> Status:
    """Sum up a run directory and store that in it, unless nothing has been done there yet.

    Raises:
        StoreError: labels have changed, and nothing has learned them yet.
    """
    run = Run(config)
    rounds = run.finished_rounds
    before = stamp(run.storage, config, rounds)  # what changes meanwhile will be noticed
    status = Status(before, rounds, _rows(run, rounds), tuple(result_lines(run)))
    if run.parts:
        try:
            run.storage.write_record(STATUS, status)
        except StoreError as error:  # as in a backup that can only be read
            logger.warning("umc status will have to compute this again: %s", error)
    return status


class StatusKeeper:
    """A listener that stores the status when it has changed: `umc status` need not compute it.

    An output is stored after the end of its stage, so the next stage has to begin.
    """

    def __init__(self, config: CampaignConfig, listener: ProgressListener) -> None:
        self.config = config
        self.listener = listener
        self._is_due = False

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Store what has changed, and announce the stage."""
        if self._is_due:
            self._is_due = False
            update_status(self.config)
        return self.listener.begin(stage, rows)

    def end(self, stage: str, seconds: float) -> None:
        """Announce that a stage is done."""
        self._is_due = self._is_due or f"{stage}.json".endswith(OF_NEXT_ROUND)
        self.listener.end(stage, seconds)


def _rows(run: Run, rounds: int) -> dict[str, list[str]]:
    """Return labels, cost and quality of each domain after the last round."""
    run.check_learned(rounds)
    if not rounds:
        return {}
    domains = run.round_metrics(rounds)[-1].domains
    return {name: _cells(metrics) for name, metrics in domains.items()}


def _cells(metrics: DomainMetrics) -> list[str]:
    """Format the metrics of a domain, in the order of the columns; empty where not measured."""
    audit = metrics.audit.utility if metrics.audit else None
    return [
        str(metrics.labels),
        f"{metrics.cost:.0f}",
        f"{audit.value:.3f} ({audit.low:.2f}-{audit.high:.2f})" if audit else "",
        f"{metrics.test.utility.value:.3f}" if metrics.test else "",
        "" if metrics.uncertainty is None else f"{metrics.uncertainty:.3f}",
    ]


def result_lines(run: Run) -> list[str]:
    """Say who is in the ensembles, and what was checked, made and missed.

    What else these lines depend on than the run directory is part of its stamp.
    """
    lines = ensemble_lines(run)
    checked, wrong = checked_labels(run, run.finished_rounds)
    if checked:
        low, high = exact_interval(wrong, checked)
        lines.append(
            f"{wrong} of {checked} given labels that people checked are wrong "
            f"(95 %: {low:.0%} to {high:.0%})"
        )
    return [*lines, *_synthetic_lines(run), *group_lines(run), *gap_lines(run)]


def _synthetic_lines(run: Run) -> list[str]:
    """Say what has become of synthetic samples, if there are any."""
    counts = Counter(standings_of(run, run.finished_rounds)["standing"].to_pylist())
    if not counts:
        return []
    said = ", ".join(f"{counts[each]} {each}" for each in get_args(Standing) if counts[each])
    return [f"of {counted(counts.total(), 'synthetic sample')}: {said}"]
