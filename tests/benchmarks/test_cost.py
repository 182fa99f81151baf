import subprocess
import sys

from benchmarks.cost import PlainProcess, cost_of

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def run_python(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cpu_time_includes_processes_that_have_ended():
    assert cost_of(run_python, BURN).cpu_s >= 0.25


def test_the_cost_of_a_plain_process_is_measured_there():
    with PlainProcess() as process:
        assert process.cost_of(run_python, BURN).cpu_s >= 0.25
