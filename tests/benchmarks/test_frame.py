"""Shared code of the benchmarks: gates and the list of questions."""

from dataclasses import asdict

from benchmarks.__main__ import questions
from benchmarks.frame import FOLDER, Figure, Gate, Report, missed_gates, read_gates


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
