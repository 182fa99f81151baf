import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tiny import (
    campaign,
    end,
    run_to_its_end,
    start_umc,
    texts,
    write_campaign,
    write_csv,
)
from umc_ray import cli
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign


@pytest.fixture(scope="session")
def reference(ray_cluster, made_once):
    """The tiny campaign, run to its end without disturbance."""

    def fill(folder):
        run_to_its_end(write_campaign(folder, campaign(folder)))

    return Run(load_campaign(made_once("reference", fill) / "campaign.yaml"))


@pytest.fixture(scope="session")
def other_seed(ray_cluster, tmp_path_factory):
    """Two rounds of the tiny campaign with another seed, run in this process."""
    folder = tmp_path_factory.mktemp("other_seed")
    budget = {"labels": 60, "per_round": 30}
    robustness = {"corruptions": True, "samples": 60}
    values = campaign(folder, name="other-seed", seed=1, budget=budget, robustness=robustness)
    values["tasks"]["mood"]["domains"]["reviews"]["shifted"] = {"posts": "shift.csv"}
    write_csv(folder / "shift.csv", texts(120, seed=13))
    run = Run(load_campaign(write_campaign(folder, values)))
    run_campaign(run)
    return run


@pytest.fixture
def ray_folder():
    """Where another Ray may keep its sockets: their paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(
        prefix="umc", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture
def umc(ray_folder):
    """Start the command line in a process of its own, with a Ray of its own."""
    with ExitStack() as stack:

        def start(*arguments, **environment):
            process = start_umc(*arguments, RAY_TMPDIR=str(ray_folder), **environment)
            stack.callback(process.stdout.close)
            stack.callback(end, process)
            return process

        yield start


@pytest.fixture
def umc_here(ray_cluster, monkeypatch, capsys):
    """Run the command line in this process; returns its exit code and what it says."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["umc", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code
        return code, capsys.readouterr().out

    return run
