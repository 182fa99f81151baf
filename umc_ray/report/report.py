"""One page about a run: what was bought, what it brought, and how far that can be trusted.

The page is a single file that needs nothing from outside: figures are SVG inside it, images are
data URIs, and it has no script. Everything that came from a source or from people is escaped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from umc_ray.campaign.history import History
from umc_ray.campaign.provenance import public_config
from umc_ray.campaign.run import Run
from umc_ray.report import plots
from umc_ray.report.comparison import (
    Estimate,
    domain_curve,
    domains,
    estimate,
    macro_curve,
    measured_alike,
)
from umc_ray.report.control import Verdict, judge, say_difference, say_saving
from umc_ray.report.coverage import task_map
from umc_ray.report.gallery import galleries
from umc_ray.report.ingest_report import ingest_reports, reasons
from umc_ray.report.objective import Standing, standing
from umc_ray.report.pages import render
from umc_ray.selection.selection_test import say
from umc_ray.storage import Storage

REPORT = "report/index.html"


def write_report(run: Run, control: Run | None = None) -> str:
    """Write a run's report, over an older one; returns where it lies.

    Args:
        run: with one finished round at least.
        control: a run of the same domains that chose otherwise, such as at random.

    Raises:
        StoreError: no round is finished.
        ConfigError: the control has nothing in common with the run.
    """
    history = History.of(run)
    verdict = judge(history, History.of(control)) if control is not None else None
    values = {
        **_headline(history),
        "standings": _standings(history, control, verdict),
        **_learning(history, control, verdict),
        **_spending(history),
        **_trust(history),
        **_looks(history),
        **_data(history),
    }
    page = render("report.html", verdict=verdict, **values)
    run.storage.write_bytes(REPORT, page.encode())
    return f"{run.storage.root.rstrip('/')}/{REPORT}"


@dataclass(frozen=True)
class Row:
    """What is known of a domain after the last round."""

    name: str
    color: str
    labels: int
    cost: float
    pool: int
    test: Mapping[str, Any] | None
    audit: Mapping[str, Any] | None

    @property
    def accuracies(self) -> list[Estimate | None]:
        """On the test and on the audits."""
        return [estimate(found) if found else None for found in (self.test, self.audit)]


def _headline(history: History) -> dict[str, Any]:
    """Sum up: labels, cost, accuracy, by domain and in all."""
    kind, names = measured_alike(history.metrics, history.names)
    return {
        "name": history.run.config.name,
        "rounds": history.rounds,
        "metrics": history.metrics[-1],
        "asked": len(history.batches),
        "rows": _rows(history),
        "ended": _ended(history.run.storage),
        "kind": kind,
        "curve": macro_curve(history.metrics, names),
    }


def _standings(history: History, control: Run | None, verdict: Verdict | None) -> list[Standing]:
    """Sum up by each objective, the control beside on the domains that both were measured on."""
    if control is None or verdict is None:
        found = [standing(history, history.names)]
    else:
        found = [standing(each, verdict.domain_keys) for each in (history, History.of(control))]
    return [each for each in found if each]


def _rows(history: History) -> list[Row]:
    return [
        Row(
            name=str(domain_key),
            color=plots.color(index),
            labels=found["labels"],
            cost=found["cost"],
            pool=sum(part.rows for part in history.run.pool(domain_key)),
            test=found["test"],
            audit=found["audit"],
        )
        for index, (domain_key, found) in enumerate(history.domain_keys.items())
    ]


def _ended(storage: Storage) -> str | None:
    """Say why the campaign ended, if the last thing that happened is that it did."""
    log = events(storage)
    return str(log[-1]["reason"]) if log and log[-1]["stage"] == "finished" else None


def _learning(history: History, control: Run | None, verdict: Verdict | None) -> dict[str, Any]:
    """Draw the learning curves, over those of the control where they can be compared."""
    other = History.of(control).metrics if control is not None else []
    shared = verdict.domain_keys if verdict is not None else ()
    kind, names = measured_alike(history.metrics, shared or history.names)
    by_domain = {
        name: (
            domain_curve(history.metrics, name),
            domain_curve(other, name) if name in shared else [],
        )
        for name in history.names
    }
    return {
        "learning": plots.learning_curve(
            macro_curve(history.metrics, names),
            macro_curve(other, names) if shared else [],
            f"{kind} accuracy, mean of {domains(len(names))}",
        ),
        "learning_domains": plots.domain_curves(by_domain),
        "say_difference": say_difference,
        "say_saving": say_saving,
    }


def _spending(history: History) -> dict[str, Any]:
    """Draw what labels were asked for and what they cost."""
    plans = history.documents("allocation")
    labels = [
        (name, [plan.get(name, {}).get("labels", 0) for plan in plans]) for name in history.names
    ]
    costs = [(str(domain_key), found["cost"]) for domain_key, found in history.domain_keys.items()]
    return {
        "selection_tests": _selection_tests(history),
        "allocation": plots.allocation(range(1, history.rounds + 1), labels),
        "costs": plots.costs(costs),
        "times": history.metrics[-1].get("times", {}),  # rounds of an older release have none
        "configured": {
            str(domain_key): cost for domain_key, cost in history.run.config.costs().items()
        },
    }


def _selection_tests(history: History) -> list[str]:
    """Say where selection taught less than random draws, and what follows."""
    found = {
        str(domain_key): each.get("selection_test")
        for domain_key, each in history.domain_keys.items()
    }
    compared = {name: verdict for name, verdict in found.items() if verdict}
    follows = {
        "random": "its batches are drawn at random until that changes",
        "never": "it is selected from all the same: selection.fallback is never",
    }[history.run.config.selection.fallback]
    harmful = [
        f"{name}: {say(each)}; {follows}" for name, each in compared.items() if each["harmful"]
    ]
    if compared and not harmful:
        return ["nowhere did random samples prove to teach more than as many selected ones"]
    return harmful


def _trust(history: History) -> dict[str, Any]:
    """Draw calibration and confusions of the domains that have a test."""
    tests = {
        domain_key: found["test"]
        for domain_key, found in history.domain_keys.items()
        if found["test"]
    }
    calibrated = {str(domain_key): test for domain_key, test in tests.items()}
    return {
        "reliability": plots.reliability(calibrated) if tests else None,
        "near_duplicates": history.checks,
        "rules": history.run.config.near_duplicates,
        "confusions": [
            plots.confusion(
                str(domain_key), history.run.classes[domain_key.task], np.array(test["confusion"])
            )
            for domain_key, test in tests.items()
        ],
    }


def _looks(history: History) -> dict[str, Any]:
    """Draw the maps and collect the samples to look at."""
    maps = []
    for task in history.run.config.tasks:
        found = task_map(history, task)
        if found is not None:
            maps.append(plots.coverage(task, found.pool_N2, found.labeled_N2, found.rounds_N))
    return {"maps": maps, "galleries": galleries(history)}


def _data(history: History) -> dict[str, Any]:
    """Collect what became of the sources, how long stages took, and the configuration."""
    found = ingest_reports(history.run)
    config = yaml.safe_dump(
        public_config(history.run.config), sort_keys=False, allow_unicode=True, width=100
    )
    stages = stage_times(events(history.run.storage))
    return {"ingest_reports": found, "reasons": reasons(found), "stages": stages, "config": config}


def events(storage: Storage) -> list[dict[str, Any]]:
    """Read the log of a run; a line that a crash cut off is left out."""
    if not storage.exists("events.jsonl"):
        return []
    lines = storage.read_bytes("events.jsonl").decode(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


@dataclass
class Stage:
    """How often a stage ran, and for how long in all."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    rows: int = 0


def stage_times(log: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """Add up the stages of all rounds and domains, in the order in which they first ran."""
    stages: dict[str, Stage] = {}
    for event in log:
        if "seconds" in event:
            name = event["stage"].split(" ")[0].rsplit("/", 1)[-1]
            stage = stages.setdefault(name, Stage(name))
            stage.runs += 1
            stage.seconds += event["seconds"]
            stage.rows += event["rows"] or 0
    return list(stages.values())
