"""The batch script, with fake versions of Slurm and Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.scripts.scripts import start
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

SCRIPT = Path(__file__).parents[2] / "cluster_configs/slurm.sbatch"
BIN = Path(sys.executable).parent

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
"$@"
"""
RAY = """#!/bin/bash
[[ $1 == get-auth-token ]] && exit 0
printf '%s\\n' "$@" > "$SEEN"
[[ -n $RAY_CANNOT_START ]] && exit 0  # as symmetric-run does
while [[ $1 != -- ]]; do shift; done
"${@:2}"
"""
PYTHON = """#!/bin/bash
echo "python $* on $RAY_ADDRESS"
exit $CAMPAIGN_ENDS_WITH
"""
HOSTNAME = """#!/bin/bash
echo "10.0.0.7 192.168.0.7"
"""


@pytest.fixture
def sbatch(tmp_path):
    for name, text in {"srun": SRUN, "ray": RAY, "python": PYTHON, "hostname": HOSTNAME}.items():
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)
    (tmp_path / "campaign.yaml").touch()

    def run(ends_with=0, cannot_start=""):
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SEEN": str(tmp_path / "seen"),
            "RAY_CANNOT_START": cannot_start,
            "CAMPAIGN_ENDS_WITH": str(ends_with),
            "SLURM_CPUS_PER_TASK": "16",
            "SLURM_JOB_NUM_NODES": "4",
            "SLURM_GPUS_PER_TASK": "2",
        }
        return subprocess.run(
            ["bash", SCRIPT, "campaign.yaml"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def test_the_campaign_runs_on_the_cluster_that_ray_started(sbatch, tmp_path):
    result = sbatch()
    campaign = tmp_path / "campaign.yaml"
    assert result.stdout == f"python -m jobs.curate {campaign} on 10.0.0.7:6379\n"
    assert (result.returncode, result.stderr) == (0, "")
    assert not list(tmp_path.glob(".umc-*"))


def test_a_campaign_that_fails_fails_the_job(sbatch):
    assert sbatch(ends_with=1).returncode == 1


def test_the_job_fails_if_ray_does_not_start(sbatch):
    result = sbatch(cannot_start="yes")
    assert result.returncode == 1
    assert "error: the campaign did not finish" in result.stderr


def test_ray_accepts_all_options_of_the_script(sbatch, tmp_path):
    sbatch()
    words = (tmp_path / "seen").read_text().split("\n")
    arguments = words[1 : words.index("--")]
    assert words[0] == "symmetric-run"
    assert arguments[:4] == ["--address", "10.0.0.7:6379", "--min-nodes", "4"]
    options = start.make_context("start", curate_and_validate_ray_start_args(arguments)).params
    assert (options["num_cpus"], options["num_gpus"]) == (16, 2)


@pytest.mark.skipif(not (BIN / "shellcheck").exists(), reason="no shellcheck for this machine")
def test_shellcheck_finds_nothing():
    result = subprocess.run([BIN / "shellcheck", SCRIPT], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
