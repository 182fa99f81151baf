"""The report of a run on one page: what was labeled, what it achieved, and how reliable that is.

The page is a single file without external resources or scripts: figures are inline SVG, images are
data URIs. Everything that comes from sources or annotators is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from umc_ray.campaign.documents import Allocation, Audit
from umc_ray.campaign.history import History
from umc_ray.campaign.provenance import public_config
from umc_ray.campaign.run import Run
from umc_ray.console import counted
from umc_ray.records import DomainKey
from umc_ray.report import plots
from umc_ray.report.comparison import (
    common_kind,
    domain_curve,
    macro_curve,
    mean_curve,
)
from umc_ray.report.control import (
    ControlComparison,
    compare_with_controls,
    difference_sentence,
    saving_sentence,
)
from umc_ray.report.coverage import coverage_map, diversity, task_samples
from umc_ray.report.criteria import criteria_rows, goals_of
from umc_ray.report.diversity import diversity_section
from umc_ray.report.ensemble import ensemble_lines
from umc_ray.report.fairness import fairness_sections
from umc_ray.report.gallery import galleries
from umc_ray.report.gaps import gap_section
from umc_ray.report.ingest_report import ingest_reports, reason_counts
from umc_ray.report.objective import ObjectiveSummary, objective_summary
from umc_ray.report.pages import render
from umc_ray.report.refill import closed_gaps, lacks, made_galleries, shown_lacks
from umc_ray.report.robustness import robustness_rows, robustness_scores
from umc_ray.report.stage_times import events, stage_times
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate, Quality

REPORT = "report/index.html"

NAMED_DOMAINS = 30
"""Domains that are named in plots of all: the others are one there."""

PLOTTED_DOMAINS = 12
"""Domains that get plots of their own: each takes a tenth of a CPU second, and nobody reads 200."""


def write_report(run: Run, controls: Sequence[Run] = (), repeats: Sequence[Run] = ()) -> str:
    """Write a run's report, replacing an older one; return its path.

    Args:
        run: with at least one finished round.
        controls: runs on the same domains with another strategy, such as random selection.
        repeats: the run with other seeds, to be paired with controls of these seeds.

    Raises:
        StoreError: no round is finished.
        ConfigError: the runs have no comparable domain.
    """
    history = History.of(run)
    control_histories = [History.of(each) for each in controls]
    repeated = [History.of(each) for each in repeats]
    comparison = (
        compare_with_controls(history, control_histories, repeated) if control_histories else None
    )
    sections = {
        **_summary(history),
        "objectives": _objectives(history, control_histories, comparison),
        **_learning(history, control_histories, comparison),
        **_spending(history),
        **_trust(history),
        "fairness": fairness_sections(history, control_histories),
        "robustness": robustness_rows(history),
        "robustness_scores": robustness_scores(history),
        **_samples(history),
        **_refill(history),
        **_data(history),
    }
    page = render("report.html", comparison=comparison, **sections)
    run.storage.write_bytes(REPORT, page.encode())
    return f"{run.storage.root.rstrip('/')}/{REPORT}"


@dataclass(frozen=True)
class Row:
    """A domain after the last round."""

    name: str
    color: str
    labels: int
    cost: float
    pool: int
    test: Quality | None
    audit: Audit | None

    @property
    def utilities(self) -> list[Estimate | None]:
        """Mean utility on the test and on the audit samples."""
        return [each.utility if each else None for each in (self.test, self.audit)]


def _summary(history: History) -> dict[str, Any]:
    """Return labels, cost and accuracy, in total and by domain."""
    kind, names = common_kind(history.metrics, history.names)
    return {
        "name": history.run.config.name,
        "rounds": history.rounds,
        "metrics": history.metrics[-1],
        "queried": len(history.batches),
        "given": history.given,
        "rows": _rows(history),
        "end_reason": _end_reason(history.run.storage),
        "kind": kind,
        "utility": utility_name(history),
        "curve": macro_curve(history.metrics, names),
    }


def _objectives(
    history: History, controls: Sequence[History], comparison: ControlComparison | None
) -> list[ObjectiveSummary]:
    """Summarize the accuracy by objective; with a control, on the domains of the comparison."""
    if comparison is None:
        summaries = [objective_summary(history, history.names)]
    else:
        names = comparison.domain_keys
        summaries = [objective_summary(each, names) for each in (history, *controls)]
    return [summary for summary in summaries if summary]


def _rows(history: History) -> list[Row]:
    return [
        Row(
            name=str(domain_key),
            color=plots.color(index),
            labels=metrics.labels,
            cost=metrics.cost,
            pool=sum(part.rows for part in history.run.pool(domain_key)),
            test=metrics.test,
            audit=metrics.audit,
        )
        for index, (domain_key, metrics) in enumerate(history.domains.items())
    ]


def utility_name(history: History) -> str:
    """Return what the utility is called, such as accuracy, if all tasks call it the same."""
    names = {history.run.kinds[domain.task].utility_name for domain in history.domains}
    return names.pop() if len(names) == 1 else f"utility ({', '.join(sorted(names))})"


def _end_reason(storage: Storage) -> str | None:
    """Return why the campaign ended, if nothing happened since."""
    log = events(storage)
    return str(log[-1]["reason"]) if log and log[-1]["stage"] == "finished" else None


def _learning(
    history: History, controls: Sequence[History], comparison: ControlComparison | None
) -> dict[str, Any]:
    """Plot the learning curves, with the mean of the controls where they are comparable."""
    control_metrics = [control.metrics for control in controls]
    shared = comparison.domain_keys if comparison is not None else ()
    kind, names = common_kind(history.metrics, shared or history.names)
    by_domain = {
        name: (
            domain_curve(history.metrics, name),
            mean_curve([domain_curve(each, name) for each in control_metrics])
            if name in shared
            else [],
        )
        for name in _plotted_names(history)
    }
    return {
        "learning": plots.learning_curve(
            macro_curve(history.metrics, names),
            mean_curve([macro_curve(each, names) for each in control_metrics]) if shared else [],
            f"{kind} {utility_name(history)}, mean of {counted(len(names), 'domain')}",
        ),
        "learning_domains": plots.domain_curves(by_domain),
        "difference_sentence": difference_sentence,
        "saving_sentence": saving_sentence,
    }


def _spending(history: History) -> dict[str, Any]:
    """Plot the allocation and cost of labels."""
    plans = [each.domains for each in history.documents("allocation", Allocation)]
    labels = [
        (name, [plan[name].labels if name in plan else 0 for plan in plans])
        for name in history.names
    ]
    config = history.run.config
    costs = [(str(domain), [metrics.cost]) for domain, metrics in history.domains.items()]
    return {
        "selection_tests": _selection_tests(history),
        "ensembles": ensemble_lines(history.run),
        "allocation": plots.allocation(range(1, history.rounds + 1), _largest(labels)),
        "costs": plots.costs([(name, cost) for name, (cost,) in _largest(costs)]),
        "times": history.metrics[-1].times,
        "people": {} if config.annotation.traits.knows_answers else history.metrics[-1].people,
        "configured_costs": {str(domain): cost for domain, cost in config.costs().items()},
    }


def _largest(rows: Sequence[tuple[str, Sequence[float]]]) -> list[tuple[str, Sequence[float]]]:
    """Return the domains whose numbers are largest in sum, and the sums of all others as one."""
    ranked = sorted(rows, key=lambda row: -sum(row[1]))
    shown = {name for name, _ in ranked[:NAMED_DOMAINS]}
    others = [numbers for name, numbers in rows if name not in shown]
    sums = [sum(each) for each in zip(*others, strict=True)]
    named = [row for row in rows if row[0] in shown]
    if others:
        named.append((f"{len(others)} others", sums))
    return named


def _selection_tests(history: History) -> list[str]:
    """Describe where selection did worse than random sampling, and the consequence."""
    verdicts = {str(domain): metrics.selection_test for domain, metrics in history.domains.items()}
    tested = {name: verdict for name, verdict in verdicts.items() if verdict}
    consequence = {
        "random": "its batches are drawn at random until that changes",
        "never": "it is still selected, because selection.fallback is never",
    }[history.run.config.selection.fallback]
    harmful = [
        f"{name}: {verdict}; {consequence}" for name, verdict in tested.items() if verdict.harmful
    ]
    if tested and not harmful:
        return ["in no domain were random samples significantly better than selected ones"]
    return harmful


def _trust(history: History) -> dict[str, Any]:
    """Plot the calibration and confusions of domains with a test."""
    tests = {domain: each.test for domain, each in history.domains.items() if each.test}
    by_name = {str(domain): test for domain, test in tests.items()}
    shown = _plotted(tests)
    return {
        "reliability": (
            plots.reliability({str(domain): test for domain, test in shown.items()})
            if tests
            else None
        ),
        "not_plotted": len(tests) - len(shown),
        "figures": {name: test.figures for name, test in by_name.items()},
        "signatures": {name: test.signatures for name, test in by_name.items()},
        "numbers": {name: test.correlations | test.errors for name, test in by_name.items()},
        "near_duplicates": history.checks,
        "rules": history.run.config.near_duplicates,
        "confusions": [
            plots.confusion(
                str(domain), history.run.kinds[domain.task].labels, np.array(test.confusion)
            )
            for domain, test in shown.items()
            if test.confusion is not None
        ],
    }


def _plotted_names(history: History) -> list[str]:
    """Return the domains that get a learning curve of their own: of many, the worst at last."""
    now = {str(domain): each.test or each.audit for domain, each in history.domains.items()}
    ranked = sorted(history.names, key=lambda name: _utility(now.get(name)))[:PLOTTED_DOMAINS]
    return [name for name in history.names if name in ranked]


def _utility(measured: Audit | Quality | None) -> float:
    return 1.0 if measured is None else measured.utility.value


def _plotted(tests: Mapping[DomainKey, Quality]) -> dict[DomainKey, Quality]:
    """Return the tests that get plots of their own: of many, where the ensemble is worst."""
    ranked = sorted(tests, key=lambda domain: tests[domain].utility.value)[:PLOTTED_DOMAINS]
    return {domain: test for domain, test in tests.items() if domain in ranked}


def _samples(history: History) -> dict[str, Any]:
    """Plot the coverage maps, measure diversity and collect the example samples."""
    read = {task: task_samples(history, task) for task in history.run.config.tasks}
    samples = {task: each for task, each in read.items() if each is not None}
    maps = [(task, coverage_map(each)) for task, each in samples.items()]
    found = [diversity(task, each) for task, each in samples.items()]
    return {
        "maps": [
            plots.coverage(task, each.pool_N2, each.labeled_N2, each.rounds_N)
            for task, each in maps
        ],
        "diversity": [each for each in found if each is not None],
        "measured": diversity_section(history),
        "galleries": galleries(history),
        "gaps": gap_section(history),
    }


def _refill(history: History) -> dict[str, Any]:
    """Return what was tried for what is lacking, and which criteria were reached."""
    rules, found = history.run.config, lacks(history)
    return {
        "lacks": shown_lacks(found),
        "lacking": len(found),
        "closed_gaps": closed_gaps(history, found),
        "acceptance": history.acceptance,
        "accept_rate": rules.refine.accept_rate,
        "made": made_galleries(history),
        "criteria": criteria_rows(history),
        "goals": goals_of(history),
        "stop_when": rules.stop.when,
    }


def _data(history: History) -> dict[str, Any]:
    """Return the ingest reports, stage times and configuration."""
    reports = ingest_reports(history.run.storage, history.run.config)
    config = yaml.safe_dump(
        public_config(history.run.config), sort_keys=False, allow_unicode=True, width=100
    )
    return {
        "ingest_reports": reports,
        "reasons": reason_counts(reports),
        "has_notes": any(each.manifest.notes for each in reports),
        "stages": stage_times(events(history.run.storage)),
        "config": config,
    }
