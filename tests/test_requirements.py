"""What `make` and images install: the versions of constraints.txt, each file with its hash."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIN = re.compile(
    r"^([\w.-]+)==(\S+?)(\+cpu)?(?: ;[^\n\\]*)? \\\n((?:    --hash=sha256:\w{64}(?: \\)?\n)+)", re.M
)
PLAIN = re.compile(r"^([\w.-]+)==(\S+)$", re.M)
ELSEWHERE = re.compile(r"nvidia-|cuda-|triton|pywin32|tzdata|httpx2-jsfetch|setuptools")
"""Of CUDA, of other platforms, or of Python 3.12 and newer: no environment of constraints.txt."""


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file):
    text = (ROOT / "requirements" / file).read_text()
    found = {normal(name): version for name, version, _, _ in PIN.findall(text)}
    assert len(found) == len(re.findall(r"^[\w.-]+==", text, re.M)), f"a pin of {file} has no hash"
    return found


def test_hashes_are_those_of_the_versions_of_the_constraints():
    constraints = (ROOT / "constraints.txt").read_text()
    wanted = {normal(name): version for name, version in PLAIN.findall(constraints)}
    locked = pins("runtime.txt") | pins("dev.txt") | pins("torch.txt") | pins("postgres.txt")
    assert {name: version for name, version in locked.items() if name in wanted} == wanted
    assert [name for name in locked.keys() - wanted.keys() if not ELSEWHERE.match(name)] == []


def test_gpus_change_no_version_but_that_of_pandas():
    gpu, others = pins("gpu.txt"), pins("runtime.txt") | pins("torch.txt") | pins("postgres.txt")
    assert "cuml-cu13" in gpu
    assert gpu.keys() & others.keys() == {"pandas"}


def test_what_postgres_needs_is_apart():
    assert pins("postgres.txt").keys() == {"psycopg", "psycopg-binary"}
    assert "--requirement postgres.txt" in (ROOT / "requirements/dev.txt").read_text()


def test_torch_is_the_same_with_and_without_cuda():
    assert pins("torch-cpu.txt")["torch"] == pins("torch.txt")["torch"]
    assert "torch" not in pins("runtime.txt")


@pytest.mark.parametrize("file", ["build.txt", "tools.txt"])
def test_what_builds_and_audits_has_hashes_too(file):
    assert pins(file)


@pytest.mark.parametrize(
    ("installed", "listed"), [("2.13.0", "torch.txt"), ("2.13.0+cpu", "torch-cpu.txt")]
)
def test_what_a_release_consists_of_has_the_torch_that_is_installed(tmp_path, installed, listed):
    (tmp_path / f"lib/python3.11/site-packages/torch-{installed}.dist-info").mkdir(parents=True)
    command = ["make", "--dry-run", f"VENV={tmp_path}", "sbom"]
    environment = {**os.environ, "MAKEFLAGS": ""}
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    ).stdout
    assert f"cat requirements/runtime.txt requirements/{listed} |" in said


def test_nobody_is_told_to_install_what_hashes_refuse(tmp_path):
    """pip says what is wrong, of which make knows nothing."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "pip"):
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    options = {"cwd": ROOT, "env": {**os.environ, "MAKEFLAGS": ""}}  # not of the make that tests
    command = ["make", f"VENV={tmp_path}", "HASHES=", "venv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 2
    first, second = [line for line in done.stdout.splitlines() if line.startswith("make: if pip")]
    assert first == "make: if pip says that hashes do not match, do not install."
    assert "has no hash" in second
    assert second.endswith("make lock, or make HASHES=off")
