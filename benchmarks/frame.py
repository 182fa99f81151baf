"""Shared code of all benchmarks: the command line, reports, and the gates for their figures.

A benchmark answers one question. It runs the pipeline and the simplest code that does the same work
in turns, and returns a `Report`. `main` prints it as a table and stores it in benchmarks/results.
With --check, it fails if a figure misses its gate in benchmarks/gates.yaml.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
import yaml
from rich.console import Console
from rich.table import Table

from umc_ray.cluster.loopback import on_loopback

FOLDER = Path(__file__).parent
VERSIONS = ("ray", "torch", "numpy", "pyarrow", "scikit-learn")


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    quick: bool
    repeats: int


@dataclass(frozen=True)
class Figure:
    """One number of a benchmark, measured several times; the gate applies to its median."""

    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        """The median over the repeats."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Report:
    """The result of a benchmark."""

    workload: dict[str, Any]
    figures: dict[str, Figure]
    failures: list[str] = field(default_factory=list)
    """Errors, such as results that differ from those of the plain code."""
    tables: list[Table] = field(default_factory=list)
    """Details that are only printed, below the figures."""


@dataclass(frozen=True)
class Gate:
    """The lower or upper bound of a figure; `quick` is the bound of a --quick run."""

    at_least: float | None = None
    at_most: float | None = None
    quick: float | None = None

    def bound(self, quick: bool) -> str | None:
        """Return the bound as text, such as ">= 0.6"; None if a quick run has no bound."""
        sign, value = ("<=", self.at_most) if self.at_least is None else (">=", self.at_least)
        value = self.quick if quick else value
        return None if value is None else f"{sign} {value:g}"

    def holds(self, value: float, quick: bool) -> bool:
        """Return whether a value is within the bound."""
        bound = self.bound(quick)
        if bound is None:
            return True
        limit = float(bound[2:])
        return value >= limit if self.at_least is not None else value <= limit


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Start a local Ray and shut it down at the end."""
    # Socket paths have a length limit.
    with tempfile.TemporaryDirectory(prefix="ub", dir="/tmp") as folder:
        with on_loopback():
            ray.init(
                num_cpus=cpus,
                include_dashboard=False,
                _temp_dir=folder,
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        try:
            yield
        finally:
            ray.shutdown()


def main(name: str, question: str | None, run: Callable[[Options], Report], repeats: int) -> None:
    """Run a benchmark from the command line; `question` is its module's docstring."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=question)
    parser.add_argument("--quick", action="store_true", help="small run of less than a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a gate is missed")
    parser.add_argument("--repeats", type=int, help=f"default: {repeats}, 2 with --quick")
    args = parser.parse_args()
    options = Options(args.quick, args.repeats or (2 if args.quick else repeats))
    began, load = time.time(), os.getloadavg()[0]
    report = run(options)
    gates = read_gates(FOLDER / "gates.yaml").get(name, {})
    missed = missed_gates(report, gates, options.quick)
    about = {
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "question": (question or "").strip().partition("\n")[0],
        "seconds": round(time.time() - began, 1),
        "load": [load, os.getloadavg()[0]],
        **_environment(),
    }
    store(f"{name}-quick" if options.quick else name, about, report, gates, missed)
    if args.check and (missed or report.failures):
        sys.exit(1)


def read_gates(path: Path) -> dict[str, dict[str, Gate]]:
    """Return the gates of all benchmarks, by figure."""
    document = yaml.safe_load(path.read_text())
    return {
        name: {figure: Gate(**gate) for figure, gate in gates.items()}
        for name, gates in document.items()
    }


def missed_gates(report: Report, gates: dict[str, Gate], quick: bool) -> list[str]:
    """Return messages about missed gates; a gate without a figure counts as missed."""
    missed = []
    for name, gate in gates.items():
        bound = gate.bound(quick)
        if bound is None:
            continue
        if name not in report.figures:
            missed.append(f"{name} was not measured, the gate is {bound}")
        elif not gate.holds(report.figures[name].median, quick):
            missed.append(f"{name} is {report.figures[name].median:.4g}, the gate is {bound}")
    return missed


def _environment() -> dict[str, Any]:
    """Return what the figures depend on: time, commit, versions and machine."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "modified": _git("status", "--porcelain", "--", "umc_ray", "benchmarks").splitlines(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in VERSIONS},
        "cpus": os.cpu_count(),
    }


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(FOLDER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def store(
    file: str,
    about: dict[str, Any],
    report: Report,
    gates: dict[str, Gate],
    missed: list[str],
) -> None:
    """Print a report and store it in benchmarks/results as JSON and as text."""
    console = Console(record=True, width=100)
    console.print(_table(about, report, gates, about_quick=file.endswith("-quick")))
    for table in report.tables:
        console.print(table)
    for line in [*(f"failed: {each}" for each in report.failures), *missed]:
        console.print(line, style="red")
    document = {
        **about,
        "workload": report.workload,
        "figures": {
            name: {
                "unit": figure.unit,
                "median": figure.median,
                "low": min(figure.values),
                "high": max(figure.values),
                "values": figure.values,
            }
            for name, figure in report.figures.items()
        },
        "failures": report.failures,
        "missed_gates": missed,
    }
    results = FOLDER / "results"
    (results / f"{file}.json").write_text(json.dumps(document, indent=1) + "\n")
    (results / f"{file}.txt").write_text(console.export_text())


def _table(
    about: dict[str, Any], report: Report, gates: dict[str, Gate], about_quick: bool
) -> Table:
    workload = ", ".join(f"{name} {value}" for name, value in report.workload.items())
    load = " to ".join(f"{each:.1f}" for each in about["load"])
    table = Table(
        title=f"{about['question']}\n{workload}",
        caption=f"load {load} on {about['cpus']} CPUs; commit {about['commit'][:9]}",
    )
    for column in ("figure", "unit", "median", "lowest", "highest", "gate"):
        table.add_column(column, justify="left" if column in ("figure", "unit") else "right")
    for name, figure in report.figures.items():
        numbers = (figure.median, min(figure.values), max(figure.values))
        bound = gates[name].bound(about_quick) if name in gates else None
        table.add_row(name, figure.unit, *(_short(n) for n in numbers), bound or "")
    return table


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
