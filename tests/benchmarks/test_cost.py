import subprocess
import sys

from benchmarks.cost import Meter, PlainProcess, cost_of

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def run_python(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cpu_time_includes_processes_that_have_ended():
    assert cost_of(run_python, BURN).cpu_s >= 0.25


def test_cpu_time_is_told_apart_by_the_names_of_processes():
    with Meter() as meter:
        subprocess.run(["sh", "-c", "while :; do :; done & sleep 0.5; kill $!"], check=True)
        assert meter.seconds() > 0
        assert meter.seconds_of("sh") > 0
        assert meter.seconds_of("ray::Map") == 0


def test_the_cost_of_a_plain_process_is_measured_there():
    with PlainProcess() as process:
        assert process.cost_of(run_python, BURN).cpu_s >= 0.25
