"""Shared code of the benchmarks: gates and the list of questions."""

import ast
import subprocess
import sys
import tomllib
from dataclasses import asdict
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement

from benchmarks.__main__ import questions
from benchmarks.frame import FOLDER, Figure, Gate, Report, missed_gates, read_gates
from tests.tiny import ROOT


def _report(**values: list[float]) -> Report:
    return Report({}, {name: Figure("s", each) for name, each in values.items()})


def test_a_gate_applies_to_the_median():
    gates = {"rate": Gate(at_least=2.0), "time": Gate(at_most=1.0)}
    assert not missed_gates(_report(rate=[0.1, 2.0, 3.0], time=[1.0, 9.0, 0.5]), gates, quick=False)
    missed = missed_gates(_report(rate=[1.9], time=[1.1]), gates, quick=False)
    assert missed == ["rate is 1.9, the gate is >= 2", "time is 1.1, the gate is <= 1"]


def test_a_figure_that_was_not_measured_misses_its_gate():
    assert missed_gates(_report(), {"rate": Gate(at_least=2.0)}, quick=False) == [
        "rate was not measured, the gate is >= 2"
    ]


def test_a_quick_run_has_its_own_bounds():
    gates = {"rate": Gate(at_least=2.0, quick=1.0), "growth": Gate(at_most=1.1)}
    assert not missed_gates(_report(rate=[1.5]), gates, quick=True)
    assert missed_gates(_report(rate=[0.5]), gates, quick=True) == ["rate is 0.5, the gate is >= 1"]


def test_every_gate_belongs_to_a_benchmark_and_has_one_bound():
    gates = read_gates(FOLDER / "gates.yaml")
    assert set(gates) <= set(questions(FOLDER))
    for gate in (gate for each in gates.values() for gate in each.values()):
        assert sum(asdict(gate)[name] is not None for name in ("at_least", "at_most")) == 1


def test_only_files_that_start_with_a_question_are_listed(tmp_path):
    (tmp_path / "speed.py").write_text('"""How fast is it?\n\nMore."""')
    (tmp_path / "prepare.py").write_text('"""Prepare data."""')
    assert questions(tmp_path) == {"speed": "How fast is it?"}


def test_the_list_needs_no_packages():
    command = [sys.executable, "-S", "-m", "benchmarks"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == len(questions(FOLDER))
    assert "python -m benchmarks.encoding " in listed


def test_benchmarks_start_with_what_make_demo_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {Requirement(each).name.lower() for each in project["dependencies"]}
    ours = {"benchmarks", "umc_ray", *sys.stdlib_module_names}
    distributions = packages_distributions()
    for file in FOLDER.glob("*.py"):
        for module in _imported_at_once(file) - ours:
            found = {name.lower() for name in distributions.get(module, [module])}
            assert found & installed, f"{file.name} imports {module}: do so where it is needed"


def _imported_at_once(file):
    """The packages that a file imports before it runs a function."""
    packages = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add(str(node.module).partition(".")[0])
    return packages
